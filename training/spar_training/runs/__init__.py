"""A self-play run: its recipe, its folder, and where its models and prompts come from."""
