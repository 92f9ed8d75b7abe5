import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { generate } from "../scripts/generate.js";

test("the types are those of the server's OpenAPI document", async () => {
  const committed = await readFile(new URL("../src/openapi.ts", import.meta.url), "utf8");
  expect(committed === (await generate()), "run `npm run generate`").toBe(true);
});
