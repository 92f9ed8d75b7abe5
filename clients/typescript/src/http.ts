/** Requests over `fetch`: addresses, time-outs, retries. */

import { APIConnectionError, APITimeoutError, statusError } from "./errors.js";
import { mayRetry, retryAfter, sleep, waitMs } from "./retries.js";

/** Options of a client. */
export interface ClientOptions {
  /**
   * The server's address, with or without `/v1`. In a page it can be relative: "" is the page's own origin. Default:
   * SPAR_URL in Node, the page's origin in a browser, else http://127.0.0.1:8000.
   */
  baseUrl?: string | undefined;
  /** Default in Node: SPAR_API_KEY, else OPENAI_API_KEY; "" for none. */
  apiKey?: string | undefined;
  /** For requests that name none; without it, that is the server's first. */
  model?: string | undefined;
  /**
   * Milliseconds without a byte from the server before a request fails, 600,000 by default. The server knows it, and
   * answers with the best so far a little earlier.
   */
  timeout?: number | undefined;
  /** How often what fails for a moment (connections, 408, 409, 429, 5xx) is sent again; 2 by default. */
  maxRetries?: number | undefined;
  /** Further headers of each request. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** Your own `fetch`, such as one with a proxy. */
  fetch?: typeof fetch | undefined;
}

/** Options of one request. */
export interface RequestOptions {
  /** Ends the request, and its search on the server. */
  signal?: AbortSignal | undefined;
  /** Milliseconds without a byte from the server, instead of the client's. */
  timeout?: number | undefined;
  /** Instead of the client's. */
  maxRetries?: number | undefined;
}

const DEFAULT_URL = "http://127.0.0.1:8000";
const DEFAULT_TIMEOUT_MS = 600_000;
const DEFAULT_RETRIES = 2;
// By this header of OpenAI's clients the server knows when to answer with the best so far.
const READ_TIMEOUT = "x-stainless-read-timeout";

/** A response whose body is read by `pieces`; `close` ends it, read or not. */
export interface OpenResponse {
  readonly headers: Headers;
  readonly pieces: AsyncIterable<Uint8Array>;
  close(): void;
}

export class Http {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #timeout: number;
  readonly #maxRetries: number;
  readonly #fetch: typeof fetch;

  /** @throws TypeError: an option has a value that cannot work. */
  constructor(options: ClientOptions) {
    this.#url = apiUrl(options.baseUrl);
    this.#timeout = positive("timeout", options.timeout ?? DEFAULT_TIMEOUT_MS);
    this.#maxRetries = options.maxRetries ?? DEFAULT_RETRIES;
    this.#headers = { ...authorization(options.apiKey), ...options.headers };
    // Called as a plain function, as browsers demand of theirs.
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
  }

  /** The whole body of an answer; `path` starts behind /v1. */
  async text(method: string, path: string, body: unknown, options: RequestOptions): Promise<string> {
    return this.#send(method, path, body, options, async (response, watch) => {
      const decoder = new TextDecoder();
      let text = "";
      for await (const piece of pieces(response, watch)) text += decoder.decode(piece, { stream: true });
      watch.end();
      return text + decoder.decode();
    });
  }

  /** An answer to be read as it arrives. */
  async open(method: string, path: string, body: unknown, options: RequestOptions): Promise<OpenResponse> {
    return this.#send(method, path, body, options, async (response, watch) => ({
      headers: response.headers,
      pieces: pieces(response, watch),
      close: () => watch.abort(),
    }));
  }

  async #send<T>(
    method: string,
    path: string,
    body: unknown,
    options: RequestOptions,
    read: (response: Response, watch: Watch) => Promise<T>,
  ): Promise<T> {
    const maxRetries = options.maxRetries ?? this.#maxRetries;
    const timeout = options.timeout === undefined ? this.#timeout : positive("timeout", options.timeout);
    const init: RequestInit = {
      method,
      headers: {
        ...(body !== undefined && { "Content-Type": "application/json" }),
        [READ_TIMEOUT]: String(timeout / 1000),
        ...this.#headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    };
    for (let attempt = 0; ; attempt++) {
      options.signal?.throwIfAborted();
      const watch = new Watch(this.#url, timeout, options.signal);
      let failure: APIConnectionError | ReturnType<typeof statusError>;
      let retriable = true;
      try {
        const response = await watch.run(this.#fetch(`${this.#url}${path}`, { ...init, signal: watch.signal }));
        if (response.ok) return await read(response, watch);
        const text = await watch.run(response.text());
        retriable = mayRetry(response.status, response.headers);
        failure = statusError(response.status, text, {
          requestId: response.headers.get("x-request-id") ?? undefined,
          retryAfter: retryAfter(response.headers),
        });
      } catch (error) {
        watch.end();
        if (!(error instanceof APIConnectionError)) throw error;
        failure = error;
      }
      watch.end();
      if (!retriable || attempt >= maxRetries) throw failure;
      await sleep(waitMs(attempt, "retryAfter" in failure ? failure.retryAfter : undefined), options.signal);
    }
  }
}

/** Ends a request that the caller aborts, or of which no byte arrives for a while. */
class Watch {
  readonly #controller = new AbortController();
  readonly #url: string;
  readonly #timeout: number;
  readonly #caller: AbortSignal | undefined;
  readonly #abort = () => this.#controller.abort(this.#caller?.reason);
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(url: string, timeout: number, caller: AbortSignal | undefined) {
    this.#url = url;
    this.#timeout = timeout;
    this.#caller = caller;
    caller?.addEventListener("abort", this.#abort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Waits for a part of the answer, within the time-out. */
  async run<T>(part: Promise<T>): Promise<T> {
    const late = new APITimeoutError(`no answer from ${this.#url} within ${this.#timeout / 1000} s`);
    this.#timer = setTimeout(() => this.#controller.abort(late), this.#timeout);
    try {
      return await part;
    } catch (error) {
      if (this.#controller.signal.aborted) throw this.#controller.signal.reason;
      throw connectionError(this.#url, error);
    } finally {
      clearTimeout(this.#timer);
    }
  }

  abort(): void {
    this.end();
    this.#controller.abort();
  }

  end(): void {
    this.#caller?.removeEventListener("abort", this.#abort);
  }
}

async function* pieces(response: Response, watch: Watch): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  while (reader) {
    const { done, value } = await watch.run(reader.read());
    if (done) return;
    yield value;
  }
}

function connectionError(url: string, error: unknown): APIConnectionError {
  const cause = (error as { cause?: { code?: string; message?: string } }).cause;
  const why = cause?.code ?? cause?.message ?? String(error);
  // Of undici, whose own limits are below a time-out of more than five minutes.
  if (/_TIMEOUT$/.test(why)) return new APITimeoutError(`no answer from ${url} in time (${why})`, { cause: error });
  return new APIConnectionError(`no answer from ${url} (${why}); is \`spar serve\` running there?`, { cause: error });
}

/**
 * The address of the API of a server; in a page it may be relative.
 *
 * @throws TypeError: it is not one.
 */
export function apiUrl(baseUrl: string | undefined): string {
  const origin = pageOrigin();
  const given = baseUrl ?? environment("SPAR_URL") ?? origin ?? DEFAULT_URL;
  const url = `${given.replace(/\/+$/, "").replace(/\/v1$/, "")}/v1`;
  if (/^https?:\/\/[^/]/i.test(url) ? URL.canParse(url) : origin !== undefined && URL.canParse(url, origin)) return url;
  throw new TypeError(`baseUrl: ${JSON.stringify(given)} must be an address such as ${DEFAULT_URL}`);
}

/** The header that names an API key. */
export function authorization(apiKey: string | undefined): { Authorization?: string } {
  const key = apiKey ?? environment("SPAR_API_KEY") ?? environment("OPENAI_API_KEY");
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** The origin of the page that this runs in; undefined outside of one. */
function pageOrigin(): string | undefined {
  const origin = (globalThis as { location?: { origin?: string } }).location?.origin;
  return origin?.startsWith("http") ? origin : undefined;
}

function environment(name: string): string | undefined {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return process?.env?.[name] || undefined;
}

function positive(name: string, value: number): number {
  // Timers of more fire at once.
  if (value > 0) return Math.min(value, 2 ** 31 - 1);
  throw new TypeError(`${name}: must be a number of milliseconds above 0, not ${value}`);
}
