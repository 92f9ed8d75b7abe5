/** A search: the answer first, and beside it what led to it. */
import { useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { reasonOf, type Search } from "../model/search";
import { TimeLine, TokensByRole } from "./cost";
import { NodeDetails } from "./node-details";
import { SearchTree } from "./search-tree";
import { WordDiff } from "./word-diff";

export interface Summary {
  text: string;
  running: boolean;
  budget: number;
  durationMs: number | null;
  traceId: string | null;
  degraded: boolean;
}

interface Props {
  search: Search;
  version: number;
  summary: Summary;
  /** Stands above the answer. */
  before?: ComponentChildren;
  /** Stands below the answer's text. */
  actions?: ComponentChildren;
}

export function SearchView({ search, version, summary, before, actions }: Props) {
  const [selected, setSelected] = useState<string | null>(null);
  const id = selected ?? search.answer ?? "";
  const node = search.nodes.get(id) ?? search.draft;
  const hasSearch = search.draft !== undefined;
  return (
    <div class="columns">
      <div class="main-column">
        {before}
        <Answer search={search} summary={summary} actions={actions} />
      </div>
      {hasSearch ? (
        <div class="side-column">
          <section class="card" aria-label="Search tree and nodes">
            <div class="card-head">
              <h2>Search tree</h2>
              <Legend />
            </div>
            <SearchTree search={search} version={version} selected={node?.id ?? null} onSelect={setSelected} />
            {node && <NodeDetails key={node.id} node={node} search={search} />}
          </section>
          {search.calls.length > 0 && (
            <section class="card" aria-label="Calls and tokens">
              <h2>Calls and tokens</h2>
              <TokensByRole calls={search.calls} />
              <TimeLine search={search} onSelect={setSelected} />
            </section>
          )}
        </div>
      ) : (
        <div class="side-column">{summary.running && <p class="card quiet">Waiting for the draft</p>}</div>
      )}
    </div>
  );
}

function Answer({ search, summary, actions }: Pick<Props, "search" | "summary" | "actions">) {
  const answer = search.answerNode;
  const draft = search.draft;
  const text = summary.text || answer?.text || "";
  const differs = draft?.text != null && text !== "" && draft.text.trim() !== text.trim();
  const wait = summary.running
    ? "The answer comes when the search ends. Until then, watch the tree."
    : search.stopReason === "interrupted"
      ? "The search was interrupted before it had an answer."
      : "No text.";
  return (
    <section class="card answer-card" aria-label="Answer" aria-busy={summary.running}>
      <div class="card-head">
        <h2>Answer</h2>
        {answer && !summary.running && (
          <span class={`badge ${answer.accepted ? "good" : "bad"}`}>{answer.accepted ? "accepted" : "not accepted"}</span>
        )}
      </div>
      <div aria-live="polite">
        {text ? <p class="prose answer-text">{text}</p> : <p class={`quiet ${summary.running ? "pulse" : ""}`}>{wait}</p>}
      </div>
      {draft && <Facts search={search} summary={summary} />}
      {actions && <div class="row actions">{actions}</div>}
      {differs && <WordDiff before={draft.text ?? ""} after={text} titles={["Draft", "Answer"]} />}
      {!differs && draft && text && !summary.running && <p class="quiet">The answer is the draft, word for word.</p>}
    </section>
  );
}

export function Facts({ search, summary }: Pick<Props, "search" | "summary">) {
  const nodes = search.nodes.size - 1;
  const value = search.answerNode?.value;
  return (
    <dl class="facts">
      <div>
        <dt>Ended</dt>
        <dd>{reasonOf(search.stopReason)}</dd>
      </div>
      <div>
        <dt>Nodes</dt>
        <dd>
          {nodes} of {summary.budget}
        </dd>
      </div>
      <div>
        <dt>Value</dt>
        <dd>
          {value == null ? "none" : value.toFixed(2)}
          {search.draft?.value != null && search.answer !== "" && <span class="quiet"> draft {search.draft.value.toFixed(2)}</span>}
        </dd>
      </div>
      {summary.durationMs !== null && (
        <div>
          <dt>Time</dt>
          <dd>{(summary.durationMs / 1000).toFixed(1)} s</dd>
        </div>
      )}
      {summary.degraded && (
        <div>
          <dt>Degraded</dt>
          <dd>a model call failed, or the server was busy</dd>
        </div>
      )}
    </dl>
  );
}

function Legend() {
  return (
    <span class="legend">
      <span>Votes for it: none</span>
      <span class="scale" aria-hidden="true" />
      <span>all</span>
    </span>
  );
}
