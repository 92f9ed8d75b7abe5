/**
 * The errors of this client. Those with a status mirror the server's.
 *
 *     ClientError
 *     ├── APIConnectionError         no server there, or the connection broke
 *     │   └── APITimeoutError        no answer within the client's own time-out
 *     ├── APIProtocolError           the answer is not one of a SPaR Server
 *     └── APIStatusError             the server's error: status, message, type, param, code, requestId
 *         ├── BadRequestError        400 and 415: the request is wrong; `param` names the field
 *         │   └── RequestTooLargeError   413
 *         ├── AuthenticationError    401: no known API key
 *         ├── PermissionDeniedError  403: the key may not use the model
 *         ├── NotFoundError          404: no such model or route
 *         ├── RateLimitError         429: the key is over its quota, or an upstream is overloaded
 *         └── InternalServerError    500 and other 5xx: a bug of the server
 *             ├── UpstreamError      502: a model failed
 *             ├── OverloadedError    503: the server is full or stopping
 *             └── DeadlineError      504: the deadline came before there was an answer
 *
 * What you abort yourself by an `AbortSignal` rejects with the signal's reason, as `fetch` does.
 */

/** Base of the tree. */
export class ClientError extends Error {
  override name = "ClientError";
}

/** There is no server at the address, or the connection broke before the end of the answer. */
export class APIConnectionError extends ClientError {
  override name = "APIConnectionError";
}

/** No answer within the client's time-out. */
export class APITimeoutError extends APIConnectionError {
  override name = "APITimeoutError";
}

/** The answer is not one of a SPaR Server. */
export class APIProtocolError extends ClientError {
  override name = "APIProtocolError";
}

/** What the server says about an error. */
export interface StatusErrorFields {
  /** In a stream that had started, derived from the error's code, because the response's was 200. */
  status: number;
  type?: string | undefined;
  /** The field of the request that is wrong. */
  param?: string | undefined;
  code?: string | undefined;
  requestId?: string | undefined;
  /** Seconds after which the server wants the request again. */
  retryAfter?: number | undefined;
}

/** An error that the server reported, with OpenAI's fields. */
export class APIStatusError extends ClientError implements StatusErrorFields {
  override name = "APIStatusError";
  readonly status: number;
  readonly type: string | undefined;
  readonly param: string | undefined;
  readonly code: string | undefined;
  readonly requestId: string | undefined;
  readonly retryAfter: number | undefined;

  constructor(message: string, fields: StatusErrorFields) {
    super(message);
    this.status = fields.status;
    this.type = fields.type;
    this.param = fields.param;
    this.code = fields.code;
    this.requestId = fields.requestId;
    this.retryAfter = fields.retryAfter;
  }
}

/** The request is wrong; `param` names the field. */
export class BadRequestError extends APIStatusError {
  override name = "BadRequestError";
}

/** The request is larger than the server allows. */
export class RequestTooLargeError extends BadRequestError {
  override name = "RequestTooLargeError";
}

/** The server does not know the API key. */
export class AuthenticationError extends APIStatusError {
  override name = "AuthenticationError";
}

/** The key may not use the model. */
export class PermissionDeniedError extends APIStatusError {
  override name = "PermissionDeniedError";
}

/** No such model or route. */
export class NotFoundError extends APIStatusError {
  override name = "NotFoundError";
}

/** The key is over its quota, or an upstream is overloaded. */
export class RateLimitError extends APIStatusError {
  override name = "RateLimitError";
}

/** The server failed. */
export class InternalServerError extends APIStatusError {
  override name = "InternalServerError";
}

/** A model behind the server failed. */
export class UpstreamError extends InternalServerError {
  override name = "UpstreamError";
}

/** The server is full or stopping. */
export class OverloadedError extends InternalServerError {
  override name = "OverloadedError";
}

/** The deadline came before there was an answer. */
export class DeadlineError extends InternalServerError {
  override name = "DeadlineError";
}

const BY_STATUS: Readonly<Record<number, typeof APIStatusError>> = {
  400: BadRequestError,
  401: AuthenticationError,
  403: PermissionDeniedError,
  404: NotFoundError,
  413: RequestTooLargeError,
  415: BadRequestError,
  429: RateLimitError,
  502: UpstreamError,
  503: OverloadedError,
  504: DeadlineError,
};
// Codes of errors that can end a stream.
const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  upstream_error: 502,
  upstream_overloaded: 503,
  upstream_timeout: 504,
  internal_error: 500,
};

/** The error of a response; `text` is its body. */
export function statusError(
  status: number,
  text: string,
  more: { requestId?: string | undefined; retryAfter?: number | undefined } = {},
): APIStatusError {
  return errorOf(status, errorFields(parse(text)), text.slice(0, 200), more.requestId, more.retryAfter);
}

/** The error of a frame that ends a stream. */
export function streamError(frame: unknown, requestId?: string): APIStatusError {
  const fields = errorFields(frame);
  const code = String(fields?.["code"]);
  const status = STATUS_OF_CODE[code] ?? (/^[45]\d\d$/.test(code) ? Number(code) : 500);
  return errorOf(status, fields, "", requestId, undefined);
}

function errorOf(
  status: number,
  fields: Record<string, unknown> | undefined,
  text: string,
  requestId: string | undefined,
  retryAfter: number | undefined,
): APIStatusError {
  const named = (name: string) => (typeof fields?.[name] === "string" ? (fields[name] as string) : undefined);
  const Kind = BY_STATUS[status] ?? (status >= 500 ? InternalServerError : APIStatusError);
  return new Kind(named("message") || text || `the server answered ${status}`, {
    status,
    type: named("type"),
    param: named("param"),
    code: named("code"),
    requestId,
    retryAfter,
  });
}

function errorFields(body: unknown): Record<string, unknown> | undefined {
  const error = (body as { error?: unknown } | null | undefined)?.error;
  return typeof error === "object" && error !== null ? (error as Record<string, unknown>) : undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
