// spar-client for Node, which reads SPAR_URL and SPAR_API_KEY itself. Run by `make test-clients`.
import { Client } from "spar-client";

const stream = new Client().stream("Tell me about the river. Do not use commas.", { refineBudget: 8 });
for await (const event of stream) {
  if (event.type === "judgement") console.log(event.path, event.accepted ? "accepted" : event.critique);
}
const completion = await stream.completion();
console.log(completion.text);
console.log(completion.refinement.stop_reason);
