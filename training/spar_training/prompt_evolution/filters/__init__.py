"""Filters for prompts: pure functions that return the reason for removing a prompt, or None to keep it."""
