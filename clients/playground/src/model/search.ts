/** A search as the page shows it: grown by a stream's events, or read from a finished tree. */
import type { Checklist, NodeJudgement, SearchEvent, SearchTree, TreeNode } from "../../../typescript/src/index.js";

export type Path = readonly number[];
export type Role = "actor" | "judge" | "refiner";
export const ROLES: readonly Role[] = ["actor", "judge", "refiner"];

export interface Vote {
  verdict: boolean | null;
  text: string;
  error: string | null;
}

export type State = "drafting" | "refining" | "judging" | "judged" | "duplicate" | "unjudged" | "failed" | "cancelled" | "interrupted";

const UNDER_WAY: ReadonlySet<State> = new Set<State>(["drafting", "refining", "judging"]);

export interface Node {
  readonly id: string;
  readonly path: Path;
  state: State;
  /** A draft of its own, which refines nothing. */
  fresh: boolean;
  /** What it refines by. */
  critique: string | null;
  text: string | null;
  value: number | null;
  accepted: boolean;
  votes: Vote[];
  findings: { passed: boolean; evidence: string }[];
  checklist: Checklist | null;
  report: string | null;
  /** Why there is no usable text. */
  problem: string | null;
}

export interface Message {
  role: string;
  content: unknown;
}

export interface Call {
  readonly id: string;
  role: Role;
  count: number;
  startedMs: number;
  endedMs: number;
  outcome: string;
  prompt: number | null;
  completion: number | null;
  /** What was sent, if that is known. */
  messages: readonly Message[] | null;
}

export class Search {
  readonly nodes = new Map<string, Node>();
  readonly calls: Call[] = [];
  answer: string | null = null;
  stopReason: string | null = null;

  get draft(): Node | undefined {
    return this.nodes.get("");
  }

  get answerNode(): Node | undefined {
    return this.answer === null ? undefined : this.nodes.get(this.answer);
  }

  /** Add what happened. */
  apply(event: SearchEvent): void {
    switch (event.type) {
      case "draft":
        this.#node([]).text = event.text;
        this.#node([]).state = "judging";
        break;
      case "node": {
        const node = this.#node(event.path);
        node.critique = event.critique;
        node.fresh = event.critique === null;
        node.state = node.fresh ? "drafting" : "refining";
        break;
      }
      case "refinement": {
        const node = this.#node(event.path);
        node.text = event.text;
        node.problem = event.failure;
        node.state = event.text === null ? "failed" : "judging";
        break;
      }
      case "vote": {
        const node = this.#node(event.path);
        node.state = "judging";
        const verdict = event.verdict === null ? null : event.verdict === "yes";
        node.votes.push({ verdict, text: event.critique, error: event.error });
        break;
      }
      case "judgement": {
        const node = this.#node(event.path);
        Object.assign(node, { text: event.text, value: event.value, accepted: event.accepted, state: "judged" });
        node.checklist = event.checklist ?? null;
        break;
      }
      case "call":
        this.calls.push({
          id: idOf(event.path),
          role: event.role,
          count: event.count,
          startedMs: event.started_ms,
          endedMs: event.ended_ms,
          outcome: event.outcome,
          prompt: event.usage.prompt,
          completion: event.usage.completion,
          messages: (event.messages as Message[] | undefined) ?? null,
        });
        break;
      case "finish":
        this.answer = idOf(event.answer);
        this.stopReason = event.stop_reason;
        break;
    }
  }

  /** Replace the nodes by those of the finished tree, which also says why some have no text. */
  read(tree: SearchTree, fresh: ReadonlySet<string> = new Set()): void {
    const before = new Map(this.nodes);
    this.nodes.clear();
    for (const data of tree.nodes) {
      const node = this.#node(data.path);
      const critique = before.get(node.id)?.critique ?? this.#critiqueFor(node.path);
      node.fresh = before.get(node.id)?.fresh ?? fresh.has(node.id);
      node.critique = node.fresh ? null : critique;
      readNode(node, data);
    }
    this.answer = idOf(tree.answer);
    this.stopReason = tree.stop_reason;
  }

  /** No more events will come: nodes that were being worked on stay as they are. */
  interrupt(): void {
    if (this.stopReason !== null) return;
    this.stopReason = "interrupted";
    for (const node of this.nodes.values()) if (UNDER_WAY.has(node.state)) node.state = "interrupted";
  }

  #node(path: Path): Node {
    const id = idOf(path);
    let node = this.nodes.get(id);
    if (node === undefined) {
      node = {
        id, path, state: "drafting", fresh: path.length === 0, critique: null, text: null, value: null,
        accepted: false, votes: [], findings: [], checklist: null, report: null, problem: null,
      };
      this.nodes.set(id, node);
    }
    return node;
  }

  #critiqueFor(path: Path): string | null {
    if (!path.length) return null;
    const parent = this.nodes.get(idOf(path.slice(0, -1)));
    if (!parent) return null;
    return parent.report ?? parent.votes.find((vote) => vote.verdict === parent.accepted)?.text ?? null;
  }
}

function readNode(node: Node, data: TreeNode): void {
  node.state = data.outcome;
  node.value = data.value;
  node.problem = data.problem ?? null;
  node.text = data.text ?? null;
  const judgement = data.judgement as NodeJudgement | undefined;
  if (!judgement) return;
  node.votes = judgement.votes.map(({ verdict, text, error }) => ({ verdict, text, error: error ?? null }));
  node.findings = judgement.findings;
  node.checklist = judgement.checklist ?? null;
  node.report = judgement.report;
  node.accepted = data.value !== null && data.value > judgement.threshold;
}

/** `0.2` for [0, 2]; the draft's is "". */
export function idOf(path: Path): string {
  return path.join(".");
}

/** What a person calls a node: `1.3` is the third child of the draft's first. */
export function nameOf(node: { path: Path }): string {
  return node.path.length ? node.path.map((number) => number + 1).join(".") : "Draft";
}

/** The same where it stands alone: `Node 1.3`. */
export function titleOf(node: { path: Path }): string {
  return node.path.length ? `Node ${nameOf(node)}` : "Draft";
}

/** `3 of 5` votes for the text, or what stands in their place. */
export function tallyOf(node: Node): string {
  const yes = node.votes.filter((vote) => vote.verdict === true).length;
  const no = node.votes.filter((vote) => vote.verdict === false).length;
  return yes + no ? `${yes}/${yes + no}` : "";
}

const STATES: Readonly<Record<State, string>> = {
  drafting: "being drafted", refining: "being refined", judging: "being judged", judged: "judged",
  duplicate: "same text as an earlier node", unjudged: "not judged", failed: "failed", cancelled: "cancelled",
  interrupted: "interrupted",
};

/** How a node did, in a few words. */
export function verdictOf(node: Node): string {
  if (node.state === "judged") return node.value === null ? "no verdict" : node.accepted ? "accepted" : "rejected";
  return STATES[node.state];
}

const PROBLEMS: Readonly<Record<string, string>> = {
  no_start: "The reply did not begin the refined answer where it should.",
  no_end: "The reply was cut off before its end.",
  empty: "The reply was empty.",
};

/** Why a node has no usable text. */
export function problemOf(node: Node): string | null {
  if (node.state === "cancelled") return "Cancelled, because another answer was accepted first or time ran out.";
  if (node.state === "interrupted") return "The search was interrupted before this node was done.";
  if (node.state === "duplicate") return "The same text as an earlier node, whose votes count for it.";
  if (node.problem === null) return null;
  return PROBLEMS[node.problem] ?? node.problem;
}

const REASONS: Readonly<Record<string, string>> = {
  pass_through: "Passed through without a search",
  draft_accepted: "The draft was accepted",
  refined_accepted: "A refinement was accepted",
  budget: "The budget is spent",
  depth: "The tree is as deep as it may be",
  tokens: "The tokens are spent",
  deadline: "Time is up",
  no_candidates: "No refinement was usable",
  abstained: "No vote on the draft could be read",
  upstream: "Model calls failed",
  done: "Nothing left to try",
  interrupted: "It was interrupted",
};

export function reasonOf(stopReason: string | null): string {
  return stopReason === null ? "Searching" : (REASONS[stopReason] ?? stopReason);
}
