"""Run a file of OpenAI batch requests against a server: concurrently, and resumable after any interruption."""
