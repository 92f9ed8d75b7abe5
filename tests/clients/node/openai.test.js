// openai for Node against the server at BASE_URL.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const baseURL = process.env.BASE_URL;
const retryAfterMs = 1000 * Number(process.env.RETRY_AFTER_S);
const tools = [JSON.parse(process.env.WEATHER)];
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const said = (content) => [{ role: "user", content }];

async function ask(text, more = {}, options = {}) {
  return client.chat.completions.create({ model: "pair", messages: said(text), ...more }, options);
}

test("a plain chat", async () => {
  const completion = await ask("Hi there");
  assert.equal(completion.choices[0].message.content, "a plain draft");
  assert.deepEqual([completion.usage.prompt_tokens, completion.usage.completion_tokens], [2, 3]);
  assert.equal(completion.usage.refinement.stop_reason, "pass_through");
});

for (const more of [{ refine_budget: 8 }, { model: "pair@8" }]) {
  test(`a budget buys refinement: ${JSON.stringify(more)}`, async () => {
    const completion = await ask("Hi", more);
    assert.equal(completion.choices[0].message.content, "better answer");
    assert.equal(completion.usage.refinement.budget, 8);
  });
}

for (const [model, answer, budget] of [["pair", "a plain draft", 0], ["pair@2", "better answer", 2]]) {
  test(`a stream of ${model} joins to the answer and ends with its usage`, async () => {
    const chunks = [];
    for await (const chunk of await ask("Hi", { model, stream: true, stream_options: { include_usage: true } })) {
      chunks.push(chunk);
    }
    assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), answer);
    assert.equal(chunks.at(-1).usage.refinement.budget, budget);
  });

  test(`the stream helper of ${model} gives the whole completion`, async () => {
    const body = { model, messages: said("Hi"), stream_options: { include_usage: true } };
    const stream = client.chat.completions.stream(body);
    assert.equal(await stream.finalContent(), answer);
    assert.equal((await stream.finalChatCompletion()).usage.refinement.budget, budget);
  });

  test(`a tool of ${model} is called and its result answered`, async () => {
    const completion = await ask("weather in Paris?", { model, tools });
    assert.equal(completion.choices[0].finish_reason, "tool_calls");
    const { message } = completion.choices[0];
    const [call] = message.tool_calls;
    assert.deepEqual([call.id, call.function.name], ["call_1", "weather"]);
    assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });
    const result = { role: "tool", tool_call_id: call.id, content: "sunny" };
    const answered = await ask("", { messages: [...said("weather in Paris?"), message, result], tools });
    assert.equal(answered.choices[0].message.content, "The weather: sunny");
  });

  test(`a streamed tool call of ${model} is put together`, async () => {
    const stream = client.chat.completions.stream({ model, messages: said("weather"), tools });
    const [choice] = (await stream.finalChatCompletion()).choices;
    assert.equal(choice.finish_reason, "tool_calls");
    assert.equal(choice.message.tool_calls[0].function.arguments, '{"city": "Paris"}');
  });
}

test("runTools calls the tool and carries on to the answer", async () => {
  const tool = { ...tools[0], function: { ...tools[0].function, parse: JSON.parse, function: () => "sunny" } };
  const runner = client.chat.completions.runTools({ model: "pair", messages: said("weather"), tools: [tool] });
  assert.equal(await runner.finalContent(), "The weather: sunny");
});

test("errors are the client's own kinds", async () => {
  const fails = async (kind, more, text = "Hi") => {
    const error = await ask(text, more).then(() => assert.fail("no error"), (error) => error);
    assert.ok(error instanceof kind, `${error}`);
    assert.ok(error.requestID);
    return error;
  };
  assert.equal((await fails(OpenAI.NotFoundError, { model: "other" })).code, "model_not_found");
  assert.equal((await fails(OpenAI.BadRequestError, { refine: { brunch: 1 } })).param, "refine.brunch");
  assert.equal((await fails(OpenAI.RateLimitError, {}, "busy")).code, "upstream_overloaded");
  assert.equal((await fails(OpenAI.RateLimitError, { stream: true }, "busy")).status, 429);
  assert.equal((await fails(OpenAI.InternalServerError, {}, "broken")).status, 502);
});

test("it waits as told and tries again", async () => {
  const began = performance.now();
  const completion = await ask("busy once, Node", {}, { maxRetries: 1 });
  assert.equal(completion.choices[0].message.content, "at last");
  assert.ok(performance.now() - began >= retryAfterMs);
});

test("the models are listed", async () => {
  const { data } = await client.models.list();
  assert.deepEqual(data.map((model) => model.id), ["pair"]);
});

test("a wrong key is told as such", async () => {
  const keyed = new OpenAI({ baseURL: process.env.KEYED_URL, apiKey: "secret" });
  const body = { model: "pair", messages: said("Hi") };
  assert.ok((await keyed.chat.completions.create(body)).choices.length);
  const wrong = keyed.withOptions({ apiKey: "wrong" });
  await assert.rejects(wrong.chat.completions.create(body), OpenAI.AuthenticationError);
});
