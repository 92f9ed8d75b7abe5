/** The provider for Vercel's AI SDK against a real server. */

import { APICallError } from "@ai-sdk/provider";
import {
  convertToModelMessages,
  generateText,
  readUIMessageStream,
  streamText,
  toUIMessageStream,
  type UIMessage,
} from "ai";
import { expect, inject, test } from "vitest";
import { createSpar, type SparMetadata, type SparOptions, searchEvent } from "../src/ai.js";
import { UpstreamError } from "../src/index.js";
import { delta, END, events, failure, fakeServer } from "./fake-server.js";
import { KEY } from "./tiny-server.js";

const QUESTION =
  "Tell me about the river. Do not use commas. Include the words lamp and bell. Write at least 4 sentences.";
const spar = createSpar({ baseURL: inject("url"), apiKey: KEY });

function call(options: SparOptions) {
  return { model: spar("spar-small"), prompt: QUESTION, seed: 3, maxRetries: 0, providerOptions: { spar: options } };
}

function metadata(found: Record<string, unknown> | undefined): SparMetadata {
  return found?.["spar"] as SparMetadata;
}

test("a budget buys refinement, and the metadata says what it did", async () => {
  const result = await generateText(call({ refineBudget: 4, refine: { trace: "summary", stop: "level" } }));
  const { refinement, tree, traceId, degraded } = metadata(result.providerMetadata);
  expect(refinement.budget).toBe(4);
  expect(tree?.nodes.length).toBeGreaterThan(1);
  expect([typeof traceId, degraded]).toEqual(["string", false]);
  expect(result.usage.outputTokens).toBeGreaterThan(0);
  expect(result.text.length).toBeGreaterThan(0);
});

test("a stream shows its search as reasoning", async () => {
  const result = streamText(call({ refineBudget: 4 }));
  let text = "";
  for await (const piece of result.textStream) text += piece;
  expect(text).toBe(await result.text);
  expect(await result.reasoningText).toContain("Judged");
  expect(metadata(await result.providerMetadata).refinement.budget).toBe(4);
});

test("a stream shows its search as typed events, to a page too", async () => {
  const result = streamText(call({ refineBudget: 4, progress: "events" }));
  let message: UIMessage | undefined;
  for await (const each of readUIMessageStream({ stream: toUIMessageStream({ stream: result.fullStream }) })) {
    message = each;
  }
  const steps = message?.parts.map(searchEvent).filter((event) => event !== undefined) ?? [];
  expect([steps[0]?.type, steps[1]?.type, steps.at(-1)?.type]).toEqual(["call", "draft", "finish"]);
  expect(steps.filter((step) => step.type === "vote").length).toBeGreaterThan(0);
  expect(await result.reasoningText).toBeUndefined();

  // What the page sends back continues the conversation; the events are not part of it.
  if (!message) throw new Error("no message");
  const user: UIMessage = { id: "1", role: "user", parts: [{ type: "text", text: QUESTION }] };
  const { prompt, ...rest } = call({ refineBudget: 0 });
  const messages = [...(await convertToModelMessages([user, message])), { role: "user", content: prompt } as const];
  const answered = await generateText({ ...rest, messages, maxOutputTokens: 8 });
  expect(answered.text.length).toBeGreaterThan(0);
});

test("a stream can hide its search, and raw chunks are there on request", async () => {
  const types = new Set<string>();
  const options = { ...call({ refineBudget: 2, progress: "none" }), include: { rawChunks: true } };
  for await (const part of streamText(options).fullStream) types.add(part.type);
  expect([types.has("custom"), types.has("reasoning-delta"), types.has("raw")]).toEqual([false, false, true]);
});

test("errors keep the server's words, and are sent again only if that can help", async () => {
  const wrong = await generateText(call({ refine: { votes: -1 } })).catch((error) => error);
  expect(APICallError.isInstance(wrong)).toBe(true);
  expect([wrong.statusCode, wrong.isRetryable]).toEqual([400, false]);
  expect(wrong.message).toContain("refine.votes");

  const { url, requests } = await fakeServer(failure(503, { "x-should-retry": "false" }));
  const model = createSpar({ baseURL: url })("pair");
  const final = await generateText({ model, prompt: "Hi" }).catch((error) => error);
  expect([final.statusCode, final.isRetryable, requests.length]).toEqual([503, false, 1]);
});

test("a stream that fails ends with the server's error", async () => {
  const error = { message: "a model failed", type: "api_error", param: null, code: "upstream_error" };
  const { url } = await fakeServer(events(delta({ content: "a" }), `data: ${JSON.stringify({ error })}\n\n`, END[2]));
  const errors: unknown[] = [];
  const onError = ({ error }: { error: unknown }) => void errors.push(error);
  await streamText({ model: createSpar({ baseURL: url })("pair"), prompt: "Hi", onError }).consumeStream();
  expect(errors[0]).toBeInstanceOf(UpstreamError);
});

test("it has no images", () => {
  expect(() => spar.imageModel("spar-small")).toThrow("spar-small");
});
