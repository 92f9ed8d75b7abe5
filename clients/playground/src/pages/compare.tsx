/** One prompt, two budgets or two algorithms, from the same draft. */
import { useState } from "preact/hooks";
import { AskForm, BudgetSlider } from "../components/ask-form";
import { TokensByRole } from "../components/cost";
import { NodeDetails } from "../components/node-details";
import { SearchTree } from "../components/search-tree";
import { Facts } from "../components/search-view";
import { WordDiff } from "../components/word-diff";
import type { Form } from "../model/form";
import { titledAlgorithms } from "../model/offer";
import type { Run } from "../model/run";
import { type PageProps, useRuns } from "./ask";

interface Side {
  budget: number;
  algorithm: string;
}

export function ComparePage({ form, onForm, offer, onError }: PageProps) {
  const [sides, setSides] = useState<[Side, Side]>([
    { budget: 2, algorithm: "" },
    { budget: 16, algorithm: "" },
  ]);
  const { runs, version, running, start, stop } = useRuns(2, onError);
  const change = (index: number, part: Partial<Side>) =>
    setSides(sides.map((side, at) => (at === index ? { ...side, ...part } : side)) as [Side, Side]);
  const compare = () => {
    // With one seed, both begin with the same draft.
    const seed = form.options.seed || String(Math.floor(Math.random() * 1e9));
    start(sides.map((side): Form => ({ ...form, budget: side.budget, options: { ...form.options, algorithm: side.algorithm, seed } })));
  };
  const [one, other] = runs;
  const isOver = one?.text && other?.text && !running;
  return (
    <div class="compare">
      <AskForm form={form} offer={offer} onChange={onForm} running={running} onAsk={compare} onStop={stop} compares />
      <div class="sides">
        {sides.map((side, index) => (
          <section class="card side" key={index} aria-label={`Search ${"AB"[index]}`}>
            <div class="row side-head">
              <h2>{"AB"[index]}</h2>
              <BudgetSlider budget={side.budget} label={`Budget ${"AB"[index]}`} onChange={(budget) => change(index, { budget })} />
              <label class="field">
                <span>Algorithm</span>
                <select value={side.algorithm} onChange={(event) => change(index, { algorithm: event.currentTarget.value })}>
                  <option value="">default</option>
                  {titledAlgorithms(offer).map(([value, text]) => (
                    <option key={value} value={value}>
                      {text}
                    </option>
                  ))}
                </select>
              </label>
            </div>
            {runs[index] ? <SideResult run={runs[index]} version={version} /> : <p class="quiet">Nothing asked yet.</p>}
          </section>
        ))}
      </div>
      {isOver && (
        <section class="card" aria-labelledby="difference">
          <h2 id="difference">What differs</h2>
          {one.text === other.text ? <p class="quiet">Both answers are the same.</p> : <WordDiff before={one.text} after={other.text} titles={["Answer A", "Answer B"]} />}
        </section>
      )}
    </div>
  );
}

function SideResult({ run, version }: { run: Run; version: number }) {
  const [selected, setSelected] = useState<string | null>(null);
  const { search } = run;
  const node = selected === null ? undefined : search.nodes.get(selected);
  const summary = {
    text: run.text,
    running: run.running,
    budget: run.budget,
    durationMs: run.usage?.refinement.duration_ms ?? null,
    traceId: run.traceId,
    degraded: run.usage?.refinement.degraded ?? false,
  };
  return (
    <>
      <p class={`prose answer-text ${run.text ? "" : "quiet"}`}>{run.text || (run.running ? "Searching" : "No answer.")}</p>
      {search.draft && (
        <>
          <Facts search={search} summary={summary} />
          <SearchTree search={search} version={version} selected={selected} onSelect={setSelected} />
          {node && <NodeDetails key={node.id} node={node} search={search} />}
          {search.calls.length > 0 && <TokensByRole calls={search.calls} />}
        </>
      )}
    </>
  );
}
