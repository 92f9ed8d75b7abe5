/** Stored searches, and files of them, as the page shows them. */
import type { SearchTree, Trace } from "../../../typescript/src/index.js";
import { idOf, type Message, type Path, type Role, Search } from "./search";

interface StoredCall {
  path: Path;
  role: Role;
  count: number;
  started_ms: number;
  ended_ms: number;
  outcome: string;
  usage: { prompt: number | null; completion: number | null };
  prompt?: number[];
}

interface Notes {
  drafts?: Path[];
  calls?: StoredCall[];
  prompts?: Message[];
}

export interface Opened {
  /** Missing in files that are no stored trace. */
  trace: Partial<Trace>;
  messages: readonly Message[];
  searches: Search[];
}

export function openTrace(trace: Partial<Trace> & { trees: SearchTree[]; notes?: Notes[] }): Opened {
  const messages = (trace.messages ?? []) as unknown as Message[];
  const searches = trace.trees.map((tree, number) => readSearch(tree, trace.notes?.[number] ?? {}, messages));
  return { trace, messages, searches };
}

/**
 * Read a file: a trace, or a response with its tree.
 *
 * @throws Error: it is neither; says what is expected.
 */
export function openFile(text: string): Opened {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw new Error("This file is not JSON. Drop a trace, as GET /v1/traces/{id} returns it.");
  }
  const body = data as { trees?: SearchTree[]; spar?: { tree?: SearchTree; trees?: SearchTree[] } } | null;
  const trees = body?.trees ?? body?.spar?.trees ?? (body?.spar?.tree ? [body.spar.tree] : undefined);
  if (!Array.isArray(trees) || !trees.length || !trees.every(isTree)) {
    throw new Error("This file has no search tree. Drop a trace, or a response with refine.trace set to full.");
  }
  return openTrace({ ...(body?.trees ? body : {}), trees });
}

function isTree(tree: SearchTree | null): boolean {
  const hasNodes = Array.isArray(tree?.nodes) && tree.nodes.every((node) => Array.isArray(node?.path));
  return hasNodes && tree.nodes.length > 0 && Array.isArray(tree.answer);
}

function readSearch(tree: SearchTree, notes: Notes, messages: readonly Message[]): Search {
  const search = new Search();
  search.read(tree, new Set((notes.drafts ?? []).map(idOf)));
  for (const call of notes.calls ?? []) {
    const places = call.prompt;
    const stored = places && notes.prompts ? places.map((place) => notes.prompts?.[place]) : null;
    search.calls.push({
      id: idOf(call.path),
      role: call.role,
      count: call.count,
      startedMs: call.started_ms,
      endedMs: call.ended_ms,
      outcome: call.outcome,
      prompt: call.usage.prompt,
      completion: call.usage.completion,
      messages: call.role === "actor" ? messages : ((stored as Message[] | null) ?? null),
    });
  }
  return search;
}
