/** A server that a test scripts, for what a real one does only in trouble. */

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export type Handler = (request: IncomingMessage & { body: unknown }, response: ServerResponse) => unknown;

/** The address of a server that gives the requests to the handlers in turn, the last of them to all that follow. */
export async function fakeServer(...handlers: [Handler, ...Handler[]]): Promise<{ url: string; requests: Received[] }> {
  const requests: Received[] = [];
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const piece of request) text += piece;
    const body: unknown = text ? JSON.parse(text) : undefined;
    requests.push({ method: request.method, path: request.url, headers: request.headers, body });
    const handler = handlers[Math.min(requests.length, handlers.length) - 1] as Handler;
    handler(Object.assign(request, { body }), response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

export interface Received {
  method: string | undefined;
  path: string | undefined;
  headers: IncomingMessage["headers"];
  body: unknown;
}

/** Answers with JSON. */
export function json(body: unknown, status = 200, headers: Record<string, string> = {}): Handler {
  return (_, response) =>
    response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(body));
}

/** Answers with an error in OpenAI's format. */
export function failure(status: number, headers: Record<string, string> = {}, code = "some_code"): Handler {
  return json({ error: { message: `message of ${status}`, type: "some_type", param: "field", code } }, status, headers);
}

/** Answers with these pieces of a body of server-sent events. */
export function events(...pieces: (string | Uint8Array)[]): Handler {
  return async (_, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream", "x-request-id": "request-1" });
    for (const piece of pieces) await new Promise((sent) => response.write(piece, sent));
    response.end();
  };
}

const REFINEMENT = { budget: 0, nodes: 0, stop_reason: "pass_through" };
export const COMPLETION = {
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1,
  model: "pair",
  choices: [{ index: 0, message: { role: "assistant", content: "an answer" }, finish_reason: "stop" }],
  usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3, refinement: REFINEMENT },
  spar: { trace_id: "1", degraded: false },
};

/** The frame of a chunk with these fields. */
export function chunk(fields: object): string {
  const head = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "pair", choices: [] };
  return `data: ${JSON.stringify({ ...head, ...fields })}\n\n`;
}

/** The frame of a delta. */
export function delta(fields: object, more: object = {}): string {
  return chunk({ choices: [{ index: 0, delta: fields, finish_reason: null, ...more }] });
}

/** The frames with which a stream ends. */
export const END = [
  chunk({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }], spar: COMPLETION.spar }),
  chunk({ usage: COMPLETION.usage }),
  "data: [DONE]\n\n",
] as const;
