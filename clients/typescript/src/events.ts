/**
 * What a stream yields: the steps of the search, then the answer, then `done`.
 *
 *     for await (const event of client.stream("Write about rivers without commas.", { refineBudget: 8 })) {
 *       if (event.type === "judgement") console.log(event.path, event.accepted, event.critique);
 *       if (event.type === "answer") console.log(event.text);
 *     }
 *
 * With budget 0 there is no search, and the answer arrives token by token. `choice` is the number of the answer, or of
 * the search with `n` > 1. `path` locates a node: [] is the draft, [0, 2] the third child of its first child.
 */

import type { Completion } from "./completion.js";
import type { CallStep, DraftStep, FinishStep, JudgementStep, NodeStep, RefinementStep, VoteStep } from "./openapi.js";

interface OfChoice {
  choice: number;
}

/** The draft is complete. */
export type DraftEvent = DraftStep & OfChoice;
/** A model call for the text at `path` is over; with `refine.prompts` it has the messages that were sent. */
export type CallEvent = CallStep & OfChoice;
/** One vote on the text at `path`. */
export type VoteEvent = VoteStep & OfChoice;
/** All votes on the text at `path` are in; a refiner sees the `critique`. */
export type JudgementEvent = JudgementStep & OfChoice;
/** A node begins: a refinement by `critique`, or a fresh draft if that is null. */
export type NodeEvent = NodeStep & OfChoice;
/** The refinement at `path` is complete, or failed. */
export type RefinementEvent = RefinementStep & OfChoice;
/** A search is over; `answer` is the path of the node that it returns. */
export type FinishEvent = FinishStep & OfChoice;
/** A step of a search. */
export type SearchEvent =
  | DraftEvent
  | CallEvent
  | VoteEvent
  | JudgementEvent
  | NodeEvent
  | RefinementEvent
  | FinishEvent;

/** A piece of the actor's own reasoning, of models that reason. */
export interface ReasoningEvent extends OfChoice {
  type: "reasoning";
  text: string;
}

/** A piece of an answer: a token with budget 0, else the whole answer. */
export interface AnswerEvent extends OfChoice {
  type: "answer";
  text: string;
}

/** The last event, with everything. */
export interface DoneEvent {
  type: "done";
  completion: Completion;
}

export type StreamEvent = SearchEvent | ReasoningEvent | AnswerEvent | DoneEvent;

const FIELDS: Readonly<Record<SearchEvent["type"], readonly string[]>> = {
  draft: ["text"],
  call: ["path", "role"],
  vote: ["path", "critique"],
  judgement: ["path", "text"],
  node: ["path"],
  refinement: ["path"],
  finish: ["answer", "stop_reason"],
};

/**
 * The event in `data`; undefined for a type that this client does not know, of a later server.
 *
 * @throws TypeError: it lacks what its type has.
 */
export function readSearchEvent(data: unknown): SearchEvent | undefined {
  const { type } = data as { type: SearchEvent["type"] };
  if (!Object.hasOwn(FIELDS, type)) return undefined;
  const event = { choice: 0, ...(data as object) } as SearchEvent;
  const missing = FIELDS[type].find((name) => !Object.hasOwn(event, name));
  if (missing !== undefined) throw new TypeError(`${type} has no ${missing}`);
  return event;
}
