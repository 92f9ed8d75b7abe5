"""Prompt evolution: seed prompts with added constraints, filtered, and without the prompts of benchmarks."""
