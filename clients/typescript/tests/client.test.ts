/** The client against a real server. */

import { expect, expectTypeOf, inject, test } from "vitest";
import {
  type AnswerEvent,
  AuthenticationError,
  BadRequestError,
  Client,
  Completion,
  type JudgementEvent,
  NotFoundError,
  type StreamEvent,
} from "../src/index.js";
import { KEY } from "./tiny-server.js";

const QUESTION =
  "Tell me about the river. Do not use commas. Include the words lamp and bell. Write at least 4 sentences.";
const client = new Client({ baseUrl: inject("url"), apiKey: KEY });

test("a search can be watched and ends in its answer", async () => {
  const events: StreamEvent[] = [];
  const options = { refineBudget: 8, seed: 3, refine: { trace: "full", stop: "level" } } as const;
  for await (const event of client.stream(QUESTION, options)) events.push(event);

  // The actor's call is over before its draft is told.
  const [call, draft, done] = [events[0], events[1], events.at(-1)];
  expect(call?.type).toBe("call");
  if (draft?.type !== "draft" || done?.type !== "done") throw new Error("no draft, or no end");
  const { completion } = done;
  expect(completion).toBeInstanceOf(Completion);
  const answers = events.filter((event): event is AnswerEvent => event.type === "answer");
  expect(answers.map((event) => event.text)).toEqual([completion.text]);
  expect(completion.refinement.budget).toBe(8);
  expect(completion.tree?.nodes[0]?.text).toBe(draft.text);

  const nodes = new Map(completion.tree?.nodes.map((node) => [String(node.path), node]));
  const judged = events.filter((event): event is JudgementEvent => event.type === "judgement");
  expect(judged.length).toBeGreaterThan(1);
  for (const event of judged) expect(nodes.get(String(event.path))?.value).toBe(event.value);
  const finish = events.find((event) => event.type === "finish");
  expect([finish?.answer, finish?.choice]).toEqual([completion.tree?.answer, 0]);
});

test("a seed gives the same answer, streamed or not", async () => {
  const options = { refineBudget: 2, seed: 3, refine: { stop: "level" } } as const;
  const whole = await client.chat(QUESTION, options);
  const streamed = await client.stream(QUESTION, options).completion();
  expect(streamed.text).toBe(whole.text);
  expect(streamed.refinement.tokens).toEqual(whole.refinement.tokens);
  expect(JSON.parse(JSON.stringify(streamed)).choices[0].message.content).toBe(whole.text);
});

test("without a budget the answer arrives token by token", async () => {
  const types = new Set<string>();
  const pieces: string[] = [];
  const stream = client.stream(QUESTION, { refineBudget: 0, seed: 3, n: 1, max_completion_tokens: 12 });
  for await (const event of stream) {
    types.add(event.type);
    if (event.type === "answer") pieces.push(event.text);
  }
  expect(types).toEqual(new Set(["answer", "done"]));
  expect(pieces.length).toBeGreaterThan(2);
  expect((await stream.completion()).text).toBe(pieces.join(""));
});

test("several answers come with their searches", async () => {
  const events = client.stream(QUESTION, { n: 2, refineBudget: 2, seed: 3, refine: { trace: "summary" } });
  const choices = new Set<number>();
  for await (const event of events) if (event.type === "judgement") choices.add(event.choice);
  expect(choices).toEqual(new Set([0, 1]));
  const { spar, choices: answers } = await events.completion();
  expect([spar.trees?.length, answers.length]).toEqual([2, 2]);
});

test("a critique is written and used", async () => {
  const judgement = await client.judge(QUESTION, "The river is calm.", { seed: 1, votes: 3 });
  expect(judgement.accepted).toBe(false);
  expect(judgement.votes.length).toBeGreaterThan(0);
  const critique = judgement.critique ?? "";
  const refined = await client.refine(QUESTION, "The river is calm.", { critique, seed: 1, refineBudget: 2 });
  expect(refined.refinement.calls.refiner).toBeGreaterThan(0);
});

test("the last message is judged if there is no response", async () => {
  const messages = [
    { role: "user", content: QUESTION },
    { role: "assistant", content: "The river, is calm." },
  ] as const;
  const checks = [{ id: "punctuation:no_comma" }];
  const judgement = await client.judge(messages, null, { checks });
  expect(judgement.checks.map((check) => [check.id, check.passed])).toEqual([["punctuation:no_comma", false]]);
});

test("a stored search can be listed, read and rated", async () => {
  const answer = await client.chat(QUESTION, { refineBudget: 1, seed: 3 });
  const trace = await client.traces.get(answer.traceId);
  expect(trace.messages.at(-1)?.content).toBe(QUESTION);
  expect(trace.trees[0]?.nodes.length).toBeGreaterThan(0);
  expect(await client.traces.giveFeedback(answer.traceId, 0.5, "better")).toMatchObject({ score: 0.5, key: "tests" });

  const since = new Date(trace.created * 1000 - 1);
  const page = await client.traces.list({ since, budget: 1, limit: 1 });
  expect(page.data.map((summary) => summary.id)).toEqual([answer.traceId]);
  expect((await client.traces.list({ until: "2020-01-01" })).data).toEqual([]);
  await expect(client.traces.get("0/../x")).rejects.toThrow(NotFoundError);
});

test("the models are listed", async () => {
  expect((await client.models()).map((model) => model.id)).toEqual(["spar-small"]);
});

test("errors are the server's, by kind", async () => {
  const missing = await client.chat("Hi", { model: "other" }).catch((error) => error);
  expect(missing).toBeInstanceOf(NotFoundError);
  expect(missing).toMatchObject({ status: 404, code: "model_not_found", name: "NotFoundError" });
  expect(missing.message).toContain("other");
  expect(missing.requestId).toBeTruthy();

  const wrong = await client
    .stream("Hi", { extraBody: { temperature: 3 } })
    .completion()
    .catch((error) => error);
  expect(wrong).toBeInstanceOf(BadRequestError);
  expect(wrong.param).toBe("temperature");

  const stranger = new Client({ baseUrl: inject("url"), apiKey: "wrong", maxRetries: 0 });
  await expect(stranger.models()).rejects.toThrow(AuthenticationError);
});

test("a signal ends a request with its reason", async () => {
  const controller = new AbortController();
  const stream = client.stream(QUESTION, { refineBudget: 8, signal: controller.signal });
  const reason = new Error("changed my mind");
  await expect(
    (async () => {
      for await (const event of stream) if (event.type === "draft") controller.abort(reason);
    })(),
  ).rejects.toBe(reason);
  await expect(client.chat(QUESTION, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

test("a stream that is left early has no completion", async () => {
  const stream = client.stream(QUESTION, { refineBudget: 8 });
  for await (const event of stream) if (event.type === "draft") break;
  await expect(stream.completion()).rejects.toThrow("closed before its end");
});

test("options and events are typed", () => {
  // @ts-expect-error: it is refineBudget
  const misspelt = () => client.chat("Hi", { refine_budget: 8 });
  // @ts-expect-error: no such algorithm
  const unknown = () => client.chat("Hi", { refine: { algorithm: "dijkstra" } });
  expect([misspelt, unknown]).toHaveLength(2);
  expectTypeOf<Extract<StreamEvent, { type: "vote" }>["verdict"]>().toEqualTypeOf<"yes" | "no" | null>();
});
