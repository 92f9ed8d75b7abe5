import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    globalSetup: "tests/tiny-server.ts",
    // The tests wait for events; these only end what hangs.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    // The server is started once and answers all files; two cores are enough for it and one worker.
    fileParallelism: false,
  },
});
