/** A stored search, or one from a file, in the same view as a live one. */
import { useEffect, useState } from "preact/hooks";
import type { SearchTree, Trace } from "../../../typescript/src/index.js";
import { SearchView } from "../components/search-view";
import { type Opened, openTrace } from "../model/trace";
import { client } from "../server";
import { CopyButton } from "./ask";

export function TracePage({ id, keyed, onError }: { id: string; keyed: number; onError: (error: unknown) => void }) {
  const [opened, setOpened] = useState<Opened | null>(null);
  const [isMissing, setMissing] = useState(false);
  useEffect(() => {
    setOpened(null);
    setMissing(false);
    client()
      .traces.get(id)
      .then((trace) => setOpened(openTrace(trace as Trace & { trees: SearchTree[] })))
      .catch((error: unknown) => {
        setMissing(true);
        onError(error);
      });
  }, [id, keyed]);
  if (isMissing) {
    return (
      <section class="card empty">
        <h1>No such trace here</h1>
        <p>
          Servers delete old traces, and show them only to keys that may read them. <a href="#/traces">See all traces</a>
        </p>
      </section>
    );
  }
  return opened ? <OpenedTrace opened={opened} link={location.href} /> : <p class="quiet pulse">Loading</p>;
}

export function OpenedTrace({ opened, link }: { opened: Opened; link: string | null }) {
  const [choice, setChoice] = useState(0);
  const { trace, messages, searches } = opened;
  const search = searches[choice] ?? searches[0]!;
  const created = trace.created && new Date(trace.created * 1000).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
  const asked = (
    <section class="card" aria-labelledby="asked">
      <div class="card-head">
        <h1 id="asked">{link ? "Trace" : "Trace file"}</h1>
        <span class="quiet">{[trace.model, created].filter(Boolean).join(" · ")}</span>
      </div>
      {messages.map((message, index) => (
        <div class="message" key={index}>
          <span class="label">{message.role}</span>
          <p class="prose">{typeof message.content === "string" ? message.content : JSON.stringify(message.content, null, 2)}</p>
        </div>
      ))}
      <div class="row actions">
        {link && <CopyButton text={link} label="Copy link" />}
        {link && (
          <button type="button" class="ghost" onClick={() => save(trace)}>
            Save as file
          </button>
        )}
        {searches.length > 1 && (
          <label class="field inline">
            <span>Answer</span>
            <select value={choice} onChange={(event) => setChoice(Number(event.currentTarget.value))}>
              {searches.map((_, index) => (
                <option key={index} value={index}>
                  {index + 1} of {searches.length}
                </option>
              ))}
            </select>
          </label>
        )}
      </div>
    </section>
  );
  return (
    <SearchView
      key={choice}
      search={search}
      version={0}
      before={asked}
      summary={{
        text: search.answerNode?.text ?? "",
        running: false,
        budget: trace.budget ?? search.nodes.size - 1,
        durationMs: trace.duration_ms ?? null,
        traceId: trace.id ?? null,
        degraded: trace.degraded ?? false,
      }}
    />
  );
}

function save(trace: Partial<Trace>): void {
  const url = URL.createObjectURL(new Blob([JSON.stringify(trace)], { type: "application/json" }));
  const link = document.createElement("a");
  Object.assign(link, { href: url, download: `trace-${trace.id}.json` }).click();
  URL.revokeObjectURL(url);
}
