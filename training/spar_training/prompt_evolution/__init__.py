"""Prompts for training: seed prompts grown by constraints, filtered, and kept apart from the benchmarks."""
