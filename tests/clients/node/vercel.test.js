// Vercel's AI SDK, with the server at BASE_URL as an OpenAI-compatible provider and by the provider of spar-client.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, isStepCount, jsonSchema, RetryError, streamText, tool } from "ai";
import { createSpar } from "spar-client/ai";

const baseURL = process.env.BASE_URL;
const retryAfterMs = 1000 * Number(process.env.RETRY_AFTER_S);
const providers = {
  "openai-compatible": (settings) =>
    createOpenAICompatible({ name: "spar", baseURL, apiKey: "none", includeUsage: true, ...settings }),
  "spar-client": (settings) => createSpar({ baseURL, apiKey: "none", ...settings }),
};
const weather = tool({
  description: "The weather in a city",
  inputSchema: jsonSchema(JSON.parse(process.env.WEATHER).function.parameters),
  execute: ({ city }) => `sunny in ${city}`,
});

for (const [name, create] of Object.entries(providers)) {
  function call(prompt, more = {}) {
    const { model = "pair", ...rest } = more;
    return { model: create()(model), prompt, maxRetries: 0, ...rest };
  }

  test(`${name}: a plain chat`, async () => {
    const { text, usage, finishReason, steps } = await generateText(call("Hi there"));
    assert.equal(text, "a plain draft");
    assert.equal(finishReason, "stop");
    assert.deepEqual([usage.inputTokens, usage.outputTokens], [2, 3]);
    assert.equal(steps[0].usage.raw.refinement.stop_reason, "pass_through");
  });

  for (const more of [{ providerOptions: { spar: { refine_budget: 8 } } }, { model: "pair@8" }]) {
    test(`${name}: a budget buys refinement: ${JSON.stringify(more)}`, async () => {
      const { text, usage } = await generateText(call("Hi", more));
      assert.equal(text, "better answer");
      assert.equal(usage.raw.refinement.budget, 8);
    });
  }

  for (const [model, answer, budget] of [["pair", "a plain draft", 0], ["pair@2", "better answer", 2]]) {
    test(`${name}: a stream of ${model} joins to the answer, with its progress as reasoning`, async () => {
      const result = streamText(call("Hi there", { model }));
      const pieces = [];
      for await (const piece of result.textStream) pieces.push(piece);
      assert.equal(pieces.join(""), answer);
      assert.equal((await result.usage).inputTokens, 2);
      assert.equal((await result.usage).raw.refinement.budget, budget);
      assert.equal(await result.finishReason, "stop");
      assert.equal(((await result.reasoningText) ?? "").includes("Judged"), budget > 0);
    });

    test(`${name}: a tool of ${model} is called`, async () => {
      const { execute, ...unexecuted } = weather;
      const options = call("weather in Paris?", { model, tools: { weather: unexecuted } });
      for (const result of [await generateText(options), streamText(options)]) {
        if (result.consumeStream) await result.consumeStream();
        const [asked] = await result.toolCalls;
        assert.deepEqual([asked.toolName, asked.input], ["weather", { city: "Paris" }]);
        assert.equal(await result.finishReason, "tool-calls");
      }
    });
  }

  test(`${name}: a tool is run and its result answered`, async () => {
    const options = call("weather in Paris?", { tools: { weather }, stopWhen: isStepCount(2) });
    const { text, steps } = await generateText(options);
    assert.equal(steps.length, 2);
    assert.ok(text.includes("sunny in Paris"), text);
    const streamed = streamText(options);
    assert.equal(await streamed.text, text);
  });

  test(`${name}: errors carry status and message`, async () => {
    const fails = async (prompt, more) => {
      const error = await generateText(call(prompt, more)).then(() => assert.fail("no error"), (error) => error);
      assert.ok(APICallError.isInstance(error), `${error}`);
      return [error.statusCode, error.message, error.isRetryable];
    };
    const [missing, told] = await fails("Hi", { model: "other" });
    assert.equal(missing, 404);
    assert.match(told, /other/);
    const [wrong, named] = await fails("Hi", { providerOptions: { spar: { refine: { brunch: 1 } } } });
    assert.equal(wrong, 400);
    assert.match(named, /refine\.brunch/);
    assert.deepEqual((await fails("busy")).filter((_, index) => index !== 1), [429, true]);
    assert.equal((await fails("broken"))[0], 502);
  });

  test(`${name}: a stream that cannot begin is an error`, async () => {
    const errors = [];
    const result = streamText(call("busy", { onError: ({ error }) => errors.push(error) }));
    await result.consumeStream();
    assert.equal(errors[0].statusCode, 429);
  });

  test(`${name}: it waits as told and tries again`, async () => {
    const began = performance.now();
    const { text } = await generateText(call(`busy once, ${name}`, { maxRetries: 1 }));
    assert.equal(text, "at last");
    assert.ok(performance.now() - began >= retryAfterMs);
    const exhausted = await generateText(call("busy", { maxRetries: 1 })).catch((error) => error);
    assert.ok(RetryError.isInstance(exhausted), `${exhausted}`);
  });

  test(`${name}: a wrong key is told as such`, async () => {
    const keyed = (apiKey) => create({ baseURL: process.env.KEYED_URL, apiKey })("pair");
    const options = { prompt: "Hi", maxRetries: 0 };
    assert.ok((await generateText({ ...options, model: keyed("secret") })).text);
    await assert.rejects(generateText({ ...options, model: keyed("wrong") }), (error) => error.statusCode === 401);
  });
}
