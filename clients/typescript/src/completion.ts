/** A chat completion with what its search did and cost. */

import { APIProtocolError } from "./errors.js";
import type { ChatCompletion, ChatUsage, Choice, Refinement, SearchTree, Spar } from "./openapi.js";

/** An answer, or `n` of them, best first: the server's body, with the parts that are used most by name. */
export class Completion implements ChatCompletion {
  declare readonly id: string;
  declare readonly object: "chat.completion";
  declare readonly created: number;
  declare readonly model: string;
  declare readonly choices: Choice[];
  declare readonly usage: ChatUsage;
  declare readonly spar: Spar;

  constructor(body: ChatCompletion) {
    Object.assign(this, body);
  }

  /** The text of the best answer, "" if it only calls tools. */
  get text(): string {
    return this.choices[0]?.message.content ?? "";
  }

  /** What the search did and what it cost. */
  get refinement(): Refinement {
    return this.usage.refinement;
  }

  /** The search of the best answer, if `refine.trace` requested it. */
  get tree(): SearchTree | undefined {
    return this.spar.tree ?? this.spar.trees?.[0];
  }

  /** For `client.traces`, where the server records them. */
  get traceId(): string {
    return this.spar.trace_id;
  }
}

/** @throws APIProtocolError: the body is not a completion of a SPaR Server. */
export function readCompletion(body: unknown): Completion {
  const found = body as Partial<ChatCompletion> | null;
  if (!Array.isArray(found?.choices) || !found.choices.every((choice) => choice?.message)) {
    throw new APIProtocolError("the server's answer has no choices");
  }
  if (!found.usage?.refinement || !found.spar) {
    throw new APIProtocolError("the answer has no usage.refinement: is this a SPaR Server?");
  }
  return new Completion(found as ChatCompletion);
}
