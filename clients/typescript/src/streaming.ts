/** Reads a stream of chat completion chunks: server-sent events to events, and the whole completion at the end. */

import { type Completion, readCompletion } from "./completion.js";
import { APIConnectionError, APIProtocolError, streamError } from "./errors.js";
import { readSearchEvent, type StreamEvent } from "./events.js";
import type { OpenResponse } from "./http.js";
import type { ChatCompletionChunk, ChoiceDelta, ChunkChoice, ToolCallDelta } from "./openapi.js";

/**
 * The events of one answer. The request is sent when the first is asked for. Leaving the loop early, or `close`, ends
 * the search on the server.
 */
export class Stream implements AsyncIterableIterator<StreamEvent> {
  readonly #events: AsyncGenerator<StreamEvent>;
  readonly #stop: () => void;
  #completion: Completion | undefined;

  constructor(open: (signal: AbortSignal) => Promise<OpenResponse>, signal?: AbortSignal | undefined) {
    const controller = new AbortController();
    const signals = signal ? [signal, controller.signal] : [controller.signal];
    this.#events = readStream(() => open(AbortSignal.any(signals)));
    this.#stop = () => controller.abort();
  }

  async next(): Promise<IteratorResult<StreamEvent, undefined>> {
    const result = await this.#events.next();
    if (result.done) return { done: true, value: undefined };
    if (result.value.type === "done") this.#completion = result.value.completion;
    return result;
  }

  async return(): Promise<IteratorResult<StreamEvent, undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The whole answer, after reading what is left of the stream. */
  async completion(): Promise<Completion> {
    while (!(await this.next()).done);
    if (!this.#completion) throw new Error("the stream was closed before its end");
    return this.#completion;
  }

  /** Ends the stream, and its search on the server. */
  async close(): Promise<void> {
    this.#stop();
    // What was still being read fails because of it.
    await this.#events.return(undefined).catch(() => undefined);
  }
}

async function* readStream(open: () => Promise<OpenResponse>): AsyncGenerator<StreamEvent> {
  const response = await open();
  const requestId = response.headers.get("x-request-id") ?? undefined;
  const answers = new Answers();
  try {
    for await (const data of dataLines(response.pieces)) {
      if (data === "[DONE]") {
        yield { type: "done", completion: answers.completion() };
        return;
      }
      const chunk = parse(data);
      if ("error" in chunk) throw streamError(chunk, requestId);
      yield* answers.feed(chunk);
    }
  } catch (error) {
    if (error instanceof TypeError) {
      throw new APIProtocolError(`the server's stream is not one of a SPaR Server: ${error.message}`, { cause: error });
    }
    throw error;
  } finally {
    response.close();
  }
  throw new APIConnectionError("the stream broke before its end");
}

/** The data of each server-sent event. The server sends one line for an event. */
async function* dataLines(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  // The pieces of a line whose end has not arrived; joined once, so that a long line takes linear time.
  let parts: string[] = [];
  for await (const piece of pieces) {
    const [first = "", ...others] = decoder.decode(piece, { stream: true }).split("\n");
    parts.push(first);
    for (const next of others) {
      const line = parts.join("");
      if (line.startsWith("data:")) yield line.slice("data:".length).trim();
      parts = [next];
    }
  }
}

function parse(data: string): ChatCompletionChunk {
  let chunk: unknown;
  try {
    chunk = JSON.parse(data);
  } catch {
    throw new APIProtocolError(`the server's stream has an event that is not JSON: ${data.slice(0, 80)}`);
  }
  if (typeof chunk !== "object" || chunk === null) {
    throw new APIProtocolError(`the server's stream has an event that is not an object: ${data.slice(0, 80)}`);
  }
  return chunk as ChatCompletionChunk;
}

interface Call {
  id?: string;
  type: string;
  function: { name: string; arguments: string };
}

interface Answer {
  index: number;
  message: { role: "assistant"; content?: string; refusal?: string; reasoning?: string; tool_calls?: Call[] };
  finish_reason: string | null;
  logprobs: { content: unknown[] } | null;
}

/** The answers so far, put together from their deltas. */
class Answers {
  readonly #head: Record<string, unknown> = {};
  readonly #choices = new Map<number, Answer>();

  /** Adds a chunk, and yields its events. */
  *feed(chunk: ChatCompletionChunk): Generator<StreamEvent> {
    for (const name of ["id", "created", "model", "usage"] as const) {
      if (chunk[name] != null) this.#head[name] = chunk[name];
    }
    const { event, ...spar } = chunk.spar ?? {};
    if (event) {
      const step = readSearchEvent(event);
      if (step) yield step;
    } else if (chunk.spar) {
      this.#head["spar"] = spar;
    }
    for (const choice of chunk.choices) yield* this.#add(choice);
  }

  completion(): Completion {
    const choices = [...this.#choices.values()].sort((one, other) => one.index - other.index);
    return readCompletion({ object: "chat.completion", ...this.#head, choices });
  }

  *#add(piece: ChunkChoice): Generator<StreamEvent> {
    const { index, delta } = piece;
    let choice = this.#choices.get(index);
    if (!choice) {
      choice = { index, message: { role: "assistant" }, finish_reason: null, logprobs: null };
      this.#choices.set(index, choice);
    }
    choice.finish_reason = piece.finish_reason || choice.finish_reason;
    const tokens = piece.logprobs?.["content"];
    if (Array.isArray(tokens)) {
      choice.logprobs ??= { content: [] };
      choice.logprobs.content.push(...tokens);
    }
    addDelta(choice.message, delta);
    if (delta.reasoning) yield { type: "reasoning", choice: index, text: delta.reasoning };
    if (delta.content) yield { type: "answer", choice: index, text: delta.content };
  }
}

function addDelta(message: Answer["message"], delta: ChoiceDelta): void {
  for (const name of ["content", "refusal", "reasoning"] as const) {
    if (delta[name] != null) message[name] = (message[name] ?? "") + delta[name];
  }
  for (const call of delta.tool_calls ?? []) {
    message.tool_calls ??= [];
    addCall(message.tool_calls, call);
  }
}

/** Adds a piece of a tool call; its arguments come in pieces, everything else at once. */
function addCall(calls: Call[], piece: ToolCallDelta): void {
  const { index, function: part, ...rest } = piece;
  // The next one at most: an index from elsewhere fills no memory.
  if (!Number.isInteger(index) || index < 0 || index > calls.length) throw new TypeError(`no tool call ${index}`);
  const call = calls[index] ?? { type: "function", function: { name: "", arguments: "" } };
  calls[index] = call;
  Object.assign(call, Object.fromEntries(Object.entries(rest).filter(([, value]) => value != null)));
  call.function.name += part?.["name"] ?? "";
  call.function.arguments += part?.["arguments"] ?? "";
}
