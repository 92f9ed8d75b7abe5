/**
 * The parameters of requests. Names of OpenAI's fields and of `refine`'s are those of the API; the client's own are in
 * camel case. What is left out, or undefined, has the server's default.
 */

import type { RequestOptions } from "./http.js";
import type { ChatMessage, ChatRequest, JudgeRequest, operations, RefineOptions as Refine } from "./openapi.js";

/** OpenAI's messages: `tool_calls` and other fields pass unchanged. */
export type Message = ChatMessage & { [field: string]: unknown };
/** A conversation: messages, or one user message as a string. */
export type Messages = string | readonly Message[];

/** With undefined for what is left out, whatever the caller's compiler options. */
type Optional<T> = { [K in keyof T]: T[K] | undefined };

/** How the budget is spent; docs/api.md explains each. `progress` and `events` are the client's own. */
export type RefineOptions = Optional<Omit<Refine, "progress" | "events">>;

interface BodyOptions extends RequestOptions {
  /** The client's, or the server's first model, if left out. */
  model?: string | undefined;
  /** Further fields of the request's body. */
  extraBody?: Readonly<Record<string, unknown>> | undefined;
}

type Own = "model" | "messages" | "stream" | "stream_options" | "refine_budget" | "refine" | "response";

/** Options of `chat`, `stream` and `refine`. */
export interface ChatOptions extends BodyOptions, Optional<Omit<ChatRequest, Own>> {
  /** The most nodes that the search may expand; 0 is the actor's answer, unrefined. */
  refineBudget?: number | undefined;
  refine?: RefineOptions | undefined;
  tools?: readonly Readonly<Record<string, unknown>>[] | undefined;
  tool_choice?: string | Readonly<Record<string, unknown>> | undefined;
}

/** Options of `client.refine`. */
export interface ImproveOptions extends ChatOptions {
  /** What is wrong with the answer; without it, the answer is judged first. */
  critique?: string | undefined;
}

/** Options of `judge`. */
export interface JudgeOptions extends BodyOptions, Optional<Omit<JudgeRequest, Own>> {}

type ListQuery = NonNullable<operations["list_traces_v1_traces_get"]["parameters"]["query"]>;

/** Which traces to list; a date as a string without a zone is in UTC. */
export interface TraceFilter extends Optional<Omit<ListQuery, "since" | "until" | "detail">> {
  since?: Date | string | undefined;
  until?: Date | string | undefined;
}
