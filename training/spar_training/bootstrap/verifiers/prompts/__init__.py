"""Prompts with verifiable constraints: tasks, the constraints drawn for them, their wordings, and the splits."""
