/** Stored searches, newest first: pages come as the list is scrolled. */
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef, useState } from "preact/hooks";
import type { TraceSummary } from "../../../typescript/src/index.js";
import { reasonOf } from "../model/search";
import { client, codeOf } from "../server";

const PAGE = 50;
const ROW = 64;

interface Props {
  onError: (error: unknown) => void;
  onFile: (file: File) => void;
  keyed: number;
}

export function TracesPage({ onError, onFile, keyed }: Props) {
  const [traces, setTraces] = useState<TraceSummary[] | null>(null);
  const [cursor, setCursor] = useState<string | null>(null);
  const [isOff, setOff] = useState(false);
  const [isFailed, setFailed] = useState(false);
  const [only, setOnly] = useState("");
  // The cursor that is being loaded, and the number of the load: what an earlier one brings no longer counts.
  const loading = useRef<string | null>(null);
  const number = useRef(0);
  const load = async (after: string | null) => {
    if (after !== null && loading.current === after) return;
    loading.current = after;
    const own = ++number.current;
    try {
      const filter = only ? { [only]: true } : {};
      const page = await client().traces.list({ limit: PAGE, ...filter, ...(after ? { cursor: after } : {}) });
      if (own !== number.current) return;
      setTraces((before) => [...(after ? (before ?? []) : []), ...page.data]);
      setCursor(page.next_cursor);
    } catch (error) {
      if (own !== number.current) return;
      loading.current = null;
      if (codeOf(error) === "traces_off") setOff(true);
      else {
        setFailed(true);
        onError(error);
      }
    }
  };
  useEffect(() => {
    setTraces(null);
    setFailed(false);
    void load(null);
  }, [keyed, only]);
  return (
    <div class="traces">
      <div class="row page-head">
        <h1>Traces</h1>
        {!isOff && (
          <label class="field inline">
            <span>Show</span>
            <select value={only} onChange={(event) => setOnly(event.currentTarget.value)}>
              <option value="">all</option>
              <option value="improved">improved</option>
              <option value="accepted">accepted</option>
            </select>
          </label>
        )}
        <FileButton onFile={onFile} />
      </div>
      {isOff ? (
        <section class="card empty">
          <h2>This server stores no traces</h2>
          <p>
            Start it with <code>SPAR_TRACES__RECORD=on</code> to keep each search. You can still drop a trace file anywhere on this page.
          </p>
        </section>
      ) : traces === null ? (
        !isFailed && <p class="quiet pulse">Loading</p>
      ) : traces.length === 0 ? (
        <section class="card empty">
          <h2>No traces yet</h2>
          <p>
            Each search is kept here. <a href="#/">Ask something</a> with a budget above 0.
          </p>
        </section>
      ) : (
        <TraceList traces={traces} onEnd={() => cursor && void load(cursor)} />
      )}
    </div>
  );
}

function TraceList({ traces, onEnd }: { traces: readonly TraceSummary[]; onEnd: () => void }) {
  const frame = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({ count: traces.length, getScrollElement: () => frame.current, estimateSize: () => ROW, overscan: 8 });
  const items = rows.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (last >= traces.length - 5) onEnd();
  }, [last, traces.length]);
  return (
    <div class="trace-list card" ref={frame} tabIndex={0} role="region" aria-label="Stored searches">
      <div class="lines" style={{ height: `${rows.getTotalSize()}px` }}>
        {items.map((item) => {
          const trace = traces[item.index]!;
          return (
            <a key={item.key} class="trace-row" href={`#/traces/${trace.id}`} style={{ transform: `translateY(${item.start}px)`, height: `${ROW}px` }}>
              <span class="when">{new Date(trace.created * 1000).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" })}</span>
              <span class="why">{reasonOf(trace.stop_reason)}</span>
              <span class="quiet numbers">
                {trace.model} · {trace.nodes} of {trace.budget} nodes · {(trace.duration_ms / 1000).toFixed(1)} s
              </span>
              <span class="value">
                {trace.nodes > 0 && <span class="quiet">{valueOf(trace.draft_value)} → </span>}
                {valueOf(trace.value)}
                {trace.improved && <span class="badge good">improved</span>}
              </span>
            </a>
          );
        })}
      </div>
    </div>
  );
}

function valueOf(value: number | null): string {
  return value === null ? "no verdict" : value.toFixed(2);
}

function FileButton({ onFile }: { onFile: (file: File) => void }) {
  return (
    <label class="ghost file">
      Open a trace file
      <input
        type="file"
        accept="application/json,.json"
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          if (file) onFile(file);
          event.currentTarget.value = "";
        }}
      />
    </label>
  );
}
