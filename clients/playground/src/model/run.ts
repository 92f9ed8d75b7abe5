/** One request and its search, from the first event to the answer. */
import type { ChatOptions, ChatUsage, Message } from "../../../typescript/src/index.js";
import { client } from "../server";
import { Search } from "./search";

export interface Run {
  search: Search;
  budget: number;
  /** What has arrived of the answer. */
  text: string;
  running: boolean;
  error: unknown;
  usage: ChatUsage | null;
  traceId: string | null;
}

/** Ask, and call `changed` whenever there is more to show. Aborting ends the search on the server. */
export async function ask(
  messages: readonly Message[],
  options: ChatOptions,
  changed: (run: Run) => void,
): Promise<void> {
  const run: Run = {
    search: new Search(), budget: options.refineBudget ?? 0, text: "", running: true, error: null, usage: null,
    traceId: null,
  };
  changed(run);
  try {
    const refine = { ...options.refine, prompts: true, trace: "full" as const };
    for await (const event of client().stream(messages, { ...options, refine })) {
      if (event.type === "answer") run.text += event.text;
      else if (event.type === "done") {
        run.usage = event.completion.usage;
        run.traceId = event.completion.traceId;
        run.text = event.completion.text;
        const tree = event.completion.tree;
        if (tree && run.budget) run.search.read(tree);
      } else if (event.type !== "reasoning") run.search.apply(event);
      changed(run);
    }
  } catch (error) {
    if (!options.signal?.aborted) run.error = error;
    run.search.interrupt();
  }
  run.running = false;
  changed(run);
}
