/** The server's endpoints: bodies and answers. */

import { APIProtocolError } from "./errors.js";
import type { ClientOptions, OpenResponse, RequestOptions } from "./http.js";
import { Http } from "./http.js";
import type { ModelList } from "./openapi.js";
import type { Message, Messages } from "./options.js";

type Options = Readonly<Record<string, unknown>>;

export class Api {
  readonly #http: Http;
  #model: string | undefined;

  constructor(options: ClientOptions) {
    this.#http = new Http(options);
    this.#model = options.model;
  }

  /** The answer at `path`; `field` is one that it must have. */
  async get<T>(path: string, field: keyof T & string, options: RequestOptions): Promise<T> {
    return read<T>(path, await this.#http.text("GET", path, undefined, options), field);
  }

  /** The answer to a body as it is. */
  async post<T>(path: string, field: keyof T & string, body: Options, options: RequestOptions): Promise<T> {
    return read<T>(path, await this.#http.text("POST", path, body, options), field);
  }

  /** The answer to options of a method and `fixed` fields, which options cannot replace. */
  async ask<T>(path: string, field: keyof T & string, fixed: Options, options: Options): Promise<T> {
    const [body, request] = await this.#request(fixed, options);
    return this.post<T>(path, field, body, request);
  }

  /** A streamed answer. */
  async open(path: string, fixed: Options, options: Options): Promise<OpenResponse> {
    const [body, request] = await this.#request(fixed, options);
    return this.#http.open("POST", path, body, request);
  }

  async models(options: RequestOptions): Promise<ModelList> {
    return this.get<ModelList>("/models", "data", options);
  }

  async #request(fixed: Options, options: Options): Promise<[Options, RequestOptions]> {
    const { signal, timeout, maxRetries, extraBody, refineBudget, model, ...fields } = options;
    const request = { signal, timeout, maxRetries } as RequestOptions;
    const body = {
      model: model ?? (await this.#defaultModel(request)),
      refine_budget: refineBudget,
      ...fields,
      ...(extraBody as Options | undefined),
      ...fixed,
    };
    return [body, request];
  }

  async #defaultModel(options: RequestOptions): Promise<string> {
    if (this.#model === undefined) {
      const { data } = await this.models(options);
      this.#model = data[0]?.id;
    }
    if (this.#model === undefined) throw new APIProtocolError("the server lists no model that this key may use");
    return this.#model;
  }
}

export function conversation(messages: Messages): readonly Message[] {
  return typeof messages === "string" ? [{ role: "user", content: messages }] : messages;
}

function read<T>(path: string, text: string, field: keyof T & string): T {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new APIProtocolError(`${path} did not answer with JSON: ${text.slice(0, 80)}`);
  }
  if (typeof body !== "object" || body === null || !(field in body)) {
    throw new APIProtocolError(`${path} did not answer as a SPaR Server does: there is no ${field}`);
  }
  return body as T;
}
