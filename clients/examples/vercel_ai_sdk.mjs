// Vercel's AI SDK. Run by `make test-clients`.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText } from "ai";

const spar = createOpenAICompatible({
  name: "spar",
  baseURL: `${process.env.SPAR_URL ?? "http://127.0.0.1:8000"}/v1`,
  apiKey: process.env.SPAR_API_KEY ?? "none",
});
const { text, usage } = await generateText({
  model: spar(process.env.SPAR_MODEL ?? "spar-135m"),
  prompt: "Tell me about the river. Do not use commas.",
  providerOptions: { spar: { refine_budget: 8 } },
});
console.log(text);
console.log(usage.raw.refinement.stop_reason);
