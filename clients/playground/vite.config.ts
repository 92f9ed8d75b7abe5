import { defineConfig } from "vite";

// The gateway serves the page at /ui and its files below it; file names stay the same, so that it can list them.
export default defineConfig({
  base: "./",
  resolve: { alias: { react: "preact/compat", "react-dom": "preact/compat" } },
  experimental: {
    renderBuiltUrl: (filename, { hostType }) => (hostType === "html" ? `ui/${filename}` : { relative: true }),
  },
  build: {
    outDir: "../../server/spar_server/playground",
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    rollupOptions: {
      output: { entryFileNames: "playground.js", assetFileNames: "playground[extname]" },
    },
  },
  server: { proxy: { "/v1": "http://127.0.0.1:8000" } },
});
