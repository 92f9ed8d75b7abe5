import { Api, conversation } from "./api.js";
import { type Completion, readCompletion } from "./completion.js";
import type { ClientOptions, RequestOptions } from "./http.js";
import type {
  Algorithm,
  AlgorithmList,
  ChatCompletion,
  CheckType,
  CheckTypes,
  JudgementBody,
  Model,
} from "./openapi.js";
import type { ChatOptions, ImproveOptions, JudgeOptions, Messages } from "./options.js";
import { Stream } from "./streaming.js";
import { Traces } from "./traces.js";

/**
 * A client of one server, for Node and browsers.
 *
 *     const client = new Client({ baseUrl: "http://127.0.0.1:8000" });
 *     const answer = await client.chat("Write about rivers without commas.", { refineBudget: 8 });
 *     console.log(answer.text, answer.refinement.stop_reason);
 *
 * Every method rejects with the errors of this package, or with the reason of your own `signal`.
 */
export class Client {
  /** Stored searches, where the server records them. */
  readonly traces: Traces;
  readonly #api: Api;

  constructor(options: ClientOptions = {}) {
    this.#api = new Api(options);
    this.traces = new Traces(this.#api);
  }

  /** Answers a conversation, or one question given as a string. */
  async chat(messages: Messages, options: ChatOptions = {}): Promise<Completion> {
    const fixed = { messages: conversation(messages) };
    return readCompletion(await this.#api.ask<ChatCompletion>("/chat/completions", "choices", fixed, { ...options }));
  }

  /** Answers a conversation, with the steps of the search as they happen. */
  stream(messages: Messages, options: ChatOptions = {}): Stream {
    const fixed = {
      messages: conversation(messages),
      stream: true,
      stream_options: { include_usage: true },
      refine: { progress: false, events: true, ...options.refine },
    };
    return new Stream((signal) => this.#api.open("/chat/completions", fixed, { ...options, signal }), options.signal);
  }

  /** Judges an answer to a conversation: `response`, or its last message. */
  judge(messages: Messages, response?: string | null, options: JudgeOptions = {}): Promise<JudgementBody> {
    const fixed = { messages: conversation(messages), response: response ?? undefined };
    return this.#api.ask<JudgementBody>("/judge", "votes", fixed, { ...options });
  }

  /** Improves an answer to a conversation: `response`, or its last message. */
  async refine(messages: Messages, response?: string | null, options: ImproveOptions = {}): Promise<Completion> {
    const fixed = { messages: conversation(messages), response: response ?? undefined };
    return readCompletion(await this.#api.ask<ChatCompletion>("/refine", "choices", fixed, { ...options }));
  }

  /** The algorithms that `refine.algorithm` can name. */
  async algorithms(options: RequestOptions = {}): Promise<Algorithm[]> {
    return (await this.#api.get<AlgorithmList>("/algorithms", "data", options)).data;
  }

  /** The checks that `refine.checks` and `judge` can name, with the schemas of their kwargs. */
  async checks(options: RequestOptions = {}): Promise<CheckType[]> {
    return (await this.#api.get<CheckTypes>("/checks", "data", options)).data;
  }

  /** The models of the server that the key may use. */
  async models(options: RequestOptions = {}): Promise<Model[]> {
    return (await this.#api.models(options)).data;
  }
}
