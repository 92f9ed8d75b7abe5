import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";

const ROOT = new URL("../", import.meta.url);
const MODULES = readdirSync(new URL("src/", ROOT)).map((name) => name.replace(/\.ts$/, ""));
let files: string[];

beforeAll(() => {
  const [packed] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: ROOT, encoding: "utf8" }));
  files = packed.files.map((file: { path: string }) => file.path);
});

test("the package has the built modules, their types, and nothing else", () => {
  const built = MODULES.flatMap((name) => [`dist/${name}.js`, `dist/${name}.d.ts`]);
  expect(new Set(files)).toEqual(new Set(["package.json", "README.md", "LICENSE", ...built]));
});

test("whoever installs it installs nothing else", () => {
  const described = JSON.parse(readFileSync(new URL("package.json", ROOT), "utf8"));
  expect(described.dependencies).toBeUndefined();
  for (const name of Object.keys(described.peerDependencies)) {
    expect(described.peerDependenciesMeta[name]).toEqual({ optional: true });
  }
});

test("only the provider for the AI SDK imports a package, and nothing imports one of Node", () => {
  for (const name of MODULES) {
    const code = readFileSync(new URL(`dist/${name}.js`, ROOT), "utf8");
    const imported = [...code.matchAll(/^(?:import|export)[^"]* from "([^"]+)";$/gm)].map(
      (match) => match[1] as string,
    );
    const packages = imported.filter((path) => !path.startsWith("./"));
    expect(packages).toEqual(name === "ai" ? ["@ai-sdk/openai-compatible", "@ai-sdk/provider"] : []);
  }
});
