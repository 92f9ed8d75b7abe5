/** Ask, and watch the search. */
import { useRef, useState } from "preact/hooks";
import { AskForm } from "../components/ask-form";
import { SearchView } from "../components/search-view";
import { chatOptions, type Form } from "../model/form";
import type { Offer } from "../model/offer";
import { ask, type Run } from "../model/run";

export interface PageProps {
  form: Form;
  onForm: (form: Form) => void;
  offer: Offer;
  onError: (error: unknown) => void;
}

/** Runs requests, and re-renders at most once a frame while they do. */
export function useRuns(count: number, onError: (error: unknown) => void) {
  const runs = useRef<(Run | null)[]>(Array(count).fill(null));
  const stop = useRef<AbortController | null>(null);
  const frame = useRef(0);
  const [version, setVersion] = useState(0);
  const render = () => {
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => setVersion((before) => before + 1));
  };
  const start = (forms: readonly Form[]) => {
    stop.current?.abort();
    const controller = new AbortController();
    stop.current = controller;
    onError(null);
    forms.forEach((form, index) => {
      const turns = form.turns.filter((turn) => turn.content.trim()).map((turn) => ({ ...turn }));
      void ask(turns, chatOptions(form, controller.signal), (run) => {
        if (stop.current !== controller) return;
        if (run.error) onError(run.error);
        runs.current[index] = run;
        render();
      });
    });
  };
  return {
    runs: runs.current,
    version,
    running: runs.current.some((run) => run?.running),
    start,
    stop: () => stop.current?.abort(),
  };
}

export function AskPage({ form, onForm, offer, onError }: PageProps) {
  const { runs, version, running, start, stop } = useRuns(1, onError);
  const [asked, setAsked] = useState(0);
  const run = runs[0];
  const formCard = (
    <AskForm
      form={form}
      offer={offer}
      onChange={onForm}
      running={running}
      onAsk={() => {
        setAsked(asked + 1);
        start([form]);
      }}
      onStop={stop}
    />
  );
  if (!run || (run.error && !run.search.draft && !run.text)) {
    return (
      <div class="columns">
        <div class="main-column">{formCard}</div>
        <Welcome />
      </div>
    );
  }
  return (
    <SearchView
      key={asked}
      search={run.search}
      version={version}
      summary={{
        text: run.text,
        running: run.running,
        budget: run.budget,
        durationMs: run.usage?.refinement.duration_ms ?? null,
        traceId: run.traceId,
        degraded: run.usage?.refinement.degraded ?? false,
      }}
      before={formCard}
      actions={
        !run.running &&
        run.text && (
          <>
            <CopyButton text={run.text} label="Copy answer" />
            <button
              type="button"
              class="ghost"
              onClick={() => onForm({ ...form, turns: [...form.turns, { role: "assistant", content: run.text }, { role: "user", content: "" }] })}
            >
              Continue the conversation
            </button>
            {offer.traces && run.traceId && run.budget > 0 && (
              <a class="ghost" href={`#/traces/${run.traceId}`}>
                Open as trace
              </a>
            )}
          </>
        )
      }
    />
  );
}

export function CopyButton({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <button
      type="button"
      class="ghost"
      onClick={() => {
        void navigator.clipboard?.writeText(text).then(() => setCopied(true));
      }}
    >
      <span aria-live="polite">{copied ? "Copied" : label}</span>
    </button>
  );
}

function Welcome() {
  return (
    <section class="welcome" aria-label="How it works">
      <h2>The more nodes, the better the answer</h2>
      <ol>
        <li>The actor writes a draft.</li>
        <li>A judge votes on it, and says what is wrong.</li>
        <li>The refiner fixes that, along several branches, until an answer is accepted or the budget is spent.</li>
      </ol>
      <p class="quiet">You will see the tree grow here: each node with its votes, each edge with the critique it follows.</p>
    </section>
  );
}
