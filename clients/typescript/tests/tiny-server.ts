/** Starts `spar serve --pair tiny`, with traces and one API key, for all tests; `spar` must be on the path. */

import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { TestProject } from "vitest/node";

export const KEY = "secret";

declare module "vitest" {
  export interface ProvidedContext {
    url: string;
  }
}

export default async function start(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), "spar-client-"));
  const port = await freePort();
  const key = { name: "tests", sha256: createHash("sha256").update(KEY).digest("hex") };
  const env = { ...process.env, SPAR_TRACES__RECORD: "on", SPAR_KEYS: JSON.stringify([key]) };
  const server = spawn("spar", ["serve", "--pair", "tiny", "--port", String(port)], { cwd: folder, env });
  const log: string[] = [];
  for (const output of [server.stdout, server.stderr]) output.on("data", (text) => log.push(String(text)));
  const url = `http://127.0.0.1:${port}`;
  await ready(url, server, log);
  project.provide("url", url);
  return async () => {
    server.kill();
    if (server.exitCode === null) await once(server, "exit");
    await rm(folder, { recursive: true });
  };
}

async function ready(url: string, server: ChildProcess, log: string[]): Promise<void> {
  const failed = once(server, "error");
  failed.catch(() => undefined);
  for (;;) {
    const response = await fetch(`${url}/ready`).catch(() => undefined);
    if (response?.ok) return;
    if (server.exitCode !== null) throw new Error(`the server ended: ${log.join("")}`);
    await Promise.race([wait(100), failed.then(([error]) => Promise.reject(error))]);
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
