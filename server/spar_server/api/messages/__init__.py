"""Anthropic's Messages API over the same plan and search as chat, with tools and streams."""
