/** The page's frame: navigation, errors, the API key, and files that are dropped. */
import { useCallback, useEffect, useState } from "preact/hooks";
import { KeyDialog } from "./components/key-dialog";
import { NEW_FORM } from "./model/form";
import { useOffer } from "./model/offer";
import { type Opened, openFile } from "./model/trace";
import { AskPage } from "./pages/ask";
import { ComparePage } from "./pages/compare";
import { OpenedTrace, TracePage } from "./pages/trace";
import { TracesPage } from "./pages/traces";
import { describe, needsKey, storedKey } from "./server";

const PAGES: readonly [string, string][] = [
  ["#/", "Ask"],
  ["#/compare", "Compare"],
  ["#/traces", "Traces"],
];
// A trace is a few megabytes at most; anything larger is another file.
const LARGEST_FILE = 64 * 2 ** 20;

export function App() {
  const hash = useHash();
  const [form, setForm] = useState(NEW_FORM);
  const [error, setError] = useState<string | null>(null);
  const [file, setFile] = useState<Opened | null>(null);
  const [asksKey, setAsksKey] = useState(false);
  const [keyReason, setKeyReason] = useState<"needed" | "wrong" | null>(null);
  const [keyed, setKeyed] = useState(0);

  const onError = useCallback((found: unknown) => {
    if (needsKey(found)) {
      setKeyReason(storedKey() ? "wrong" : "needed");
      setAsksKey(true);
    }
    setError(found && !needsKey(found) ? describe(found) : null);
  }, []);

  const onFile = useCallback((dropped: File) => {
    const read = async () => {
      if (dropped.size > LARGEST_FILE) throw new Error("This file is too large for a trace.");
      setFile(openFile(await dropped.text()));
      setError(null);
      location.hash = "#/file";
    };
    read().catch(onError);
  }, []);

  useEffect(() => {
    const over = (event: DragEvent) => event.preventDefault();
    const drop = (event: DragEvent) => {
      event.preventDefault();
      const dropped = event.dataTransfer?.files[0];
      if (dropped) onFile(dropped);
    };
    addEventListener("dragover", over);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragover", over);
      removeEventListener("drop", drop);
    };
  }, []);

  useEffect(() => setError(null), [hash]);

  const offer = useOffer(keyed, onError);
  const shared = { form, onForm: setForm, offer, onError };
  const [, page, id] = hash.slice(1).split("/");
  return (
    <>
      <header>
        <a class="brand" href="#/">
          <Mark /> SPaR
        </a>
        <nav aria-label="Pages">
          {PAGES.map(([target, title]) => (
            <a key={target} href={target} aria-current={target === (page ? `#/${page}` : "#/") ? "page" : undefined}>
              {title}
            </a>
          ))}
        </nav>
        <button
          type="button"
          class="ghost"
          onClick={() => {
            setKeyReason(null);
            setAsksKey(true);
          }}
        >
          {storedKey() ? "Change key" : "API key"}
        </button>
      </header>
      <main>
        {error !== null && (
          <div class="error" role="alert">
            <p>{error}</p>
            <button type="button" class="ghost" onClick={() => setError(null)}>
              Dismiss
            </button>
          </div>
        )}
        {/* Hidden rather than left, so that a search goes on while a trace is looked at. */}
        <div hidden={page !== ""}>
          <h1 class="hidden">Playground</h1>
          <AskPage {...shared} />
        </div>
        {page === "compare" && (
          <>
            <h1 class="hidden">Compare</h1>
            <ComparePage {...shared} />
          </>
        )}
        {page === "traces" && (id ? <TracePage key={id} id={id} keyed={keyed} onError={onError} /> : <TracesPage onError={onError} onFile={onFile} keyed={keyed} />)}
        {page === "file" && (file ? <OpenedTrace opened={file} link={null} /> : <p class="quiet">Drop a trace file here.</p>)}
      </main>
      <KeyDialog
        open={asksKey}
        reason={keyReason}
        onClose={() => setAsksKey(false)}
        onDone={() => {
          setAsksKey(false);
          setError(null);
          setKeyed(keyed + 1);
        }}
      />
    </>
  );
}

function useHash(): string {
  const read = () => location.hash || "#/";
  const [hash, setHash] = useState(read);
  useEffect(() => {
    const changed = () => setHash(read());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return hash;
}

function Mark() {
  return (
    <svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
      <path d="M7 16h9M16 16l8-8M16 16l8 8" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" fill="none" />
      <circle cx="7" cy="16" r="4" fill="currentColor" />
      <circle cx="24" cy="8" r="4" fill="currentColor" />
      <circle cx="24" cy="24" r="4" fill="currentColor" />
    </svg>
  );
}
