// openai for Node. Run by `make test-clients`.
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: `${process.env.SPAR_URL ?? "http://127.0.0.1:8000"}/v1`,
  apiKey: process.env.SPAR_API_KEY ?? "none",
});
const completion = await client.chat.completions.create({
  model: process.env.SPAR_MODEL ?? "spar-135m",
  messages: [{ role: "user", content: "Tell me about the river. Do not use commas." }],
  refine_budget: 8,
});
console.log(completion.choices[0].message.content);
console.log(completion.usage.refinement.stop_reason);
