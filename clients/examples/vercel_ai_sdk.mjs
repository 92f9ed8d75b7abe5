// Vercel's AI SDK. Run by `make test-clients`. The provider reads SPAR_URL and SPAR_API_KEY itself.
import { generateText } from "ai";
import { spar } from "spar-client/ai";

const { text, providerMetadata } = await generateText({
  model: spar(process.env.SPAR_MODEL ?? "spar-135m"),
  prompt: "Tell me about the river. Do not use commas.",
  providerOptions: { spar: { refineBudget: 8 } },
});
console.log(text);
console.log(providerMetadata.spar.refinement.stop_reason);
