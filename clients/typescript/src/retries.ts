/** When a request is sent again, and after how long: the policy of OpenAI's SDKs. */

const FIRST_MS = 500;
const LONGEST_MS = 8_000;
// A server that asks for more patience than this is not waited for.
const LONGEST_HINT_S = 60;

/** Whether a failed request may succeed if it is sent again; the server can say so by `x-should-retry`. */
export function mayRetry(status: number, headers: Headers): boolean {
  const hint = headers.get("x-should-retry");
  if (hint === "true" || hint === "false") return hint === "true";
  return [408, 409, 429].includes(status) || status >= 500;
}

/** The seconds after which the server wants the request again; undefined if it does not say. */
export function retryAfter(headers: Headers): number | undefined {
  const milliseconds = headers.get("retry-after-ms");
  if (milliseconds !== null && Number.isFinite(Number(milliseconds))) return Number(milliseconds) / 1000;
  const value = headers.get("retry-after");
  if (value === null) return undefined;
  const seconds = Number.isFinite(Number(value)) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : seconds;
}

/** Milliseconds before the attempt after `attempt`, which counts from 0: the server's hint, else doubling from 0.5 s. */
export function waitMs(attempt: number, hint: number | undefined): number {
  if (hint !== undefined && hint > 0 && hint <= LONGEST_HINT_S) return hint * 1000;
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** attempt) * (0.75 + Math.random() / 4);
}

/** Waits; rejects with the signal's reason as soon as it aborts. */
export function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
