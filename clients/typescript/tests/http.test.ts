/** Retries, time-outs and trouble in streams, with servers that a test scripts. */

import { afterEach, expect, test, vi } from "vitest";
import {
  APIConnectionError,
  APIProtocolError,
  type APIStatusError,
  APITimeoutError,
  Client,
  DeadlineError,
  OverloadedError,
  RateLimitError,
  RequestTooLargeError,
  type StreamEvent,
  UpstreamError,
} from "../src/index.js";
import { COMPLETION, chunk, delta, END, events, failure, fakeServer, type Handler, json } from "./fake-server.js";
import { freePort } from "./tiny-server.js";

afterEach(() => {
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
});

async function clientOf(...handlers: [Handler, ...Handler[]]) {
  const { url, requests } = await fakeServer(...handlers);
  return { client: new Client({ baseUrl: url, model: "pair" }), requests };
}

const SOON = { "retry-after-ms": "1" };

test("what fails for a moment is sent again", async () => {
  for (const status of [408, 409, 429, 500, 503]) {
    const { client, requests } = await clientOf(failure(status, SOON), failure(status, SOON), json(COMPLETION));
    expect((await client.chat("Hi")).text).toBe("an answer");
    expect(requests).toHaveLength(3);
  }
});

test("a failure is reported after the last attempt", async () => {
  const { client, requests } = await clientOf(failure(429, { ...SOON, "x-request-id": "request-9" }));
  const error: APIStatusError = await client.chat("Hi").then(Promise.reject, (error) => error);
  expect(error).toBeInstanceOf(RateLimitError);
  expect(error).toMatchObject({ message: "message of 429", type: "some_type", param: "field", code: "some_code" });
  expect([error.requestId, error.retryAfter, requests.length]).toEqual(["request-9", 0.001, 3]);
  await expect(client.chat("Hi", { maxRetries: 0 })).rejects.toThrow(RateLimitError);
  expect(requests).toHaveLength(4);
});

test("nothing is sent again if the server says so, or the request is wrong", async () => {
  const final = await clientOf(failure(503, { "x-should-retry": "false" }));
  await expect(final.client.chat("Hi")).rejects.toThrow(OverloadedError);
  const wrong = await clientOf(failure(413));
  await expect(wrong.client.stream("Hi").completion()).rejects.toThrow(RequestTooLargeError);
  expect([final.requests.length, wrong.requests.length]).toEqual([1, 1]);
});

test("a connection that breaks is made again", async () => {
  const broken: Handler = (_, response) => response.destroy();
  const half: Handler = (_, response) => {
    response.writeHead(200, { "Content-Length": "1000" }).write("{", () => response.destroy());
  };
  const { client, requests } = await clientOf(broken, half, json(COMPLETION));
  expect((await client.chat("Hi")).text).toBe("an answer");
  expect(requests).toHaveLength(3);
  const nobody = new Client({ baseUrl: `http://127.0.0.1:${await freePort()}`, model: "pair", maxRetries: 0 });
  await expect(nobody.chat("Hi")).rejects.toThrow(/ECONNREFUSED.*spar serve/);
});

test("silence for longer than the time-out is an error", async () => {
  const { client, requests } = await clientOf(() => undefined);
  await expect(client.chat("Hi", { timeout: 50, maxRetries: 1 })).rejects.toThrow(APITimeoutError);
  expect(requests.map((request) => request.headers["x-stainless-read-timeout"])).toEqual(["0.05", "0.05"]);
  const stalled = await clientOf((_, response) => response.writeHead(200).write(delta({ content: "a" })));
  const stream = stalled.client.stream("Hi", { timeout: 500 });
  expect((await stream.next()).value).toEqual({ type: "answer", choice: 0, text: "a" });
  await expect(stream.next()).rejects.toThrow(APITimeoutError);
  expect(() => new Client({ timeout: -1 })).toThrow("timeout");
});

test("leaving a stream ends its request", async () => {
  let closed: (() => void) | undefined;
  const gone = new Promise<void>((resolve) => {
    closed = resolve;
  });
  const { client } = await clientOf((_, response) => {
    response.on("close", () => closed?.());
    response.writeHead(200).write(delta({ content: "a" }));
  });
  for await (const event of client.stream("Hi")) {
    expect(event.type).toBe("answer");
    break;
  }
  await gone;
});

test("a signal ends the wait for another attempt", async () => {
  const controller = new AbortController();
  const { client } = await clientOf((request, response) => {
    failure(503, { "retry-after": "50" })(request, response);
    response.on("close", () => controller.abort(new Error("enough")));
  });
  await expect(client.chat("Hi", { signal: controller.signal })).rejects.toThrow("enough");
});

test("a stream is read however its bytes are cut", async () => {
  const body = [": comment\n\n", delta({ role: "assistant", content: "" }), delta({ content: "Größe 🐟\n" }), ...END];
  const bytes = new TextEncoder().encode(body.join(""));
  const { client } = await clientOf(events(...Array.from(bytes, (byte) => Uint8Array.of(byte))));
  const read: StreamEvent[] = [];
  for await (const event of client.stream("Hi")) read.push(event);
  expect(read.map((event) => event.type)).toEqual(["answer", "done"]);
  expect(read[0]).toMatchObject({ text: "Größe 🐟\n" });
});

test("answers, reasoning and tool calls are put together, and steps of later servers are skipped", async () => {
  const call = { index: 0, id: "call_1", type: "function", function: { name: "weather", arguments: '{"ci' } };
  const { client } = await clientOf(
    events(
      chunk({ spar: { event: { type: "meditation", depth: 3 } } }),
      delta({ reasoning: "so " }),
      delta({ reasoning: "what" }),
      delta({ tool_calls: [call] }, { logprobs: { content: [1] } }),
      delta({ tool_calls: [{ index: 0, function: { arguments: 'ty": 1}' } }] }, { logprobs: { content: [2] } }),
      ...END,
    ),
  );
  const stream = client.stream("Hi");
  const types: string[] = [];
  for await (const event of stream) types.push(event.type);
  expect(types).toEqual(["reasoning", "reasoning", "done"]);
  const [choice] = (await stream.completion()).choices;
  const made = { id: "call_1", type: "function", function: { name: "weather", arguments: '{"city": 1}' } };
  expect(choice?.message).toEqual({ role: "assistant", reasoning: "so what", tool_calls: [made] });
  expect(choice?.logprobs).toEqual({ content: [1, 2] });
});

test("trouble in a stream is an error of its kind", async () => {
  const fails = async (...pieces: string[]) => {
    const { client, requests } = await clientOf(events(delta({ content: "a" }), ...pieces));
    const error = await client
      .stream("Hi")
      .completion()
      .catch((error) => error);
    expect(requests).toHaveLength(1);
    return error;
  };
  const error = { message: "a model failed", type: "api_error", param: null, code: "upstream_error" };
  const upstream = await fails(`data: ${JSON.stringify({ error })}\n\n`);
  expect(upstream).toBeInstanceOf(UpstreamError);
  expect(upstream).toMatchObject({ status: 502, message: "a model failed", requestId: "request-1", param: undefined });
  const late = { error: { ...error, code: "upstream_timeout" } };
  expect(await fails(`data: ${JSON.stringify(late)}\n\n`)).toBeInstanceOf(DeadlineError);
  expect(await fails()).toBeInstanceOf(APIConnectionError);
  expect(await fails("data: {broken\n\n")).toBeInstanceOf(APIProtocolError);
  expect(await fails("data: 7\n\n")).toBeInstanceOf(APIProtocolError);
  expect(await fails('data: {"choices": 3}\n\n')).toBeInstanceOf(APIProtocolError);
  expect(await fails(delta({ tool_calls: [{ index: 1e9 }] }))).toBeInstanceOf(APIProtocolError);
  expect(await fails(chunk({ spar: { event: { type: "vote" } } }))).toBeInstanceOf(APIProtocolError);
  // Of a server that knows no refinement.
  expect(await fails("data: [DONE]\n\n")).toBeInstanceOf(APIProtocolError);
});

test("an answer of some other server is an error of its own", async () => {
  for (const body of [{ choices: [] }, { ...COMPLETION, usage: {} }, [], "text", null]) {
    const { client } = await clientOf(json(body));
    await expect(client.chat("Hi")).rejects.toThrow(APIProtocolError);
    await expect(client.judge("Hi", "Ho")).rejects.toThrow(APIProtocolError);
  }
  const page = await clientOf((_, response) => response.writeHead(404).end("<html>not here</html>"));
  await expect(page.client.models()).rejects.toThrow("<html>not here</html>");
});

test("the body has OpenAI's names, and what is extra", async () => {
  const { client, requests } = await clientOf(json(COMPLETION));
  const extra = { refineBudget: 8, seed: 1, temperature: undefined, extraBody: { top_k: 3 }, refine: { votes: 7 } };
  await client.chat([{ role: "user", content: "Hi" }], extra);
  await client.refine("Hi", "Ho", { critique: "short", model: "other" });
  const messages = [{ role: "user", content: "Hi" }];
  expect(requests.map((request) => request.body)).toEqual([
    { model: "pair", messages, refine_budget: 8, seed: 1, top_k: 3, refine: { votes: 7 } },
    { model: "other", messages, response: "Ho", critique: "short" },
  ]);
});

test("a client without a model asks for the server's first, once", async () => {
  const { url, requests } = await fakeServer(json({ data: [{ id: "first" }, { id: "second" }] }), json(COMPLETION));
  const client = new Client({ baseUrl: url });
  await client.chat("Hi");
  await client.chat("Hi");
  expect(requests.map((request) => request.path)).toEqual([
    "/v1/models",
    "/v1/chat/completions",
    "/v1/chat/completions",
  ]);
  expect(requests[1]?.body).toMatchObject({ model: "first" });
});

test("address and key come from the options, else from the environment", async () => {
  const { url, requests } = await fakeServer(json({ data: [] }));
  vi.stubEnv("SPAR_URL", url);
  vi.stubEnv("OPENAI_API_KEY", "from OpenAI's");
  await new Client().models();
  vi.stubEnv("SPAR_API_KEY", "own");
  await new Client({ baseUrl: `${url}/v1/`, headers: { "X-More": "1" } }).models();
  await new Client({ apiKey: "" }).models();
  expect(requests.map(({ path, headers }) => [path, headers.authorization, headers["x-more"]])).toEqual([
    ["/v1/models", "Bearer from OpenAI's", undefined],
    ["/v1/models", "Bearer own", "1"],
    ["/v1/models", undefined, undefined],
  ]);
  for (const baseUrl of ["localhost:8000", "ftp://here", "http://", "", "/spar"]) {
    expect(() => new Client({ baseUrl })).toThrow("baseUrl");
  }
});

test("in a page, an address may be relative, and is the page's origin by default", async () => {
  vi.stubEnv("SPAR_URL", "");
  vi.stubGlobal("location", { origin: "https://chat.example" });
  const asked: string[] = [];
  const fetch = async (input: RequestInfo | URL) => {
    asked.push(String(input));
    return Response.json({ data: [] });
  };
  await new Client({ fetch }).models();
  await new Client({ fetch, baseUrl: "" }).models();
  await new Client({ fetch, baseUrl: "/spar/" }).models();
  expect(asked).toEqual(["https://chat.example/v1/models", "/v1/models", "/spar/v1/models"]);
});
