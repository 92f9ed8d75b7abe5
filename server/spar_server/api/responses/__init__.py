"""OpenAI's Responses API over the same plan and search as chat: text in, text out, nothing stored."""
