/** Stored searches: `client.traces`, where the server records them. */

import type { Api } from "./api.js";
import type { RequestOptions } from "./http.js";
import type { FeedbackBody, Trace, TraceList } from "./openapi.js";
import type { TraceFilter } from "./options.js";

/** The traces that the key may read. An id is `completion.traceId`. */
export class Traces {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  /** One page of traces, newest first; `next_cursor` is the `cursor` of the next. */
  list(filter: TraceFilter = {}, options: RequestOptions = {}): Promise<TraceList> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(filter)) {
      if (value != null) query.set(name, value instanceof Date ? value.toISOString() : String(value));
    }
    return this.#api.get<TraceList>(query.size ? `/traces?${query}` : "/traces", "data", options);
  }

  /** One trace, with its conversation, its trees (one for each of `n` answers) and its feedback. */
  get(traceId: string, options: RequestOptions = {}): Promise<Trace> {
    return this.#api.get<Trace>(`/traces/${encodeURIComponent(traceId)}`, "trees", options);
  }

  /** Says how good an answer is, from -1 to 1; it replaces what the key said before. */
  giveFeedback(traceId: string, score: number, comment = "", options: RequestOptions = {}): Promise<FeedbackBody> {
    const path = `/traces/${encodeURIComponent(traceId)}/feedback`;
    return this.#api.post<FeedbackBody>(path, "trace_id", { score, comment }, options);
  }
}
