/** The server that this page came from, and the API key for it, which is kept until the tab is closed. */
import { APIConnectionError, APIStatusError, AuthenticationError, Client } from "../../typescript/src/index.js";

const STORED = "spar.key";

/** Behind a proxy's path prefix, the API is beside the page. */
const BASE = new URL(".", location.href).href;

export function storedKey(): string {
  return sessionStorage.getItem(STORED) ?? "";
}

export function storeKey(key: string): void {
  if (key) sessionStorage.setItem(STORED, key);
  else sessionStorage.removeItem(STORED);
}

export function client(): Client {
  return new Client({ baseUrl: BASE, apiKey: storedKey(), maxRetries: 0 });
}

export function needsKey(error: unknown): boolean {
  return error instanceof AuthenticationError;
}

/** What went wrong and what to do, for a person. */
export function describe(error: unknown): string {
  if (error instanceof AuthenticationError) return "The server does not know this API key.";
  if (error instanceof APIStatusError) return error.message;
  if (error instanceof APIConnectionError) return "The server does not answer. Is it still running?";
  return error instanceof Error ? error.message : String(error);
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof APIStatusError ? error.code : undefined;
}
