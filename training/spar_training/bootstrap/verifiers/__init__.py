"""A first pair from any chat model, with verifiers instead of a strong teacher.

Prompts with verifiable constraints, the base's own answers to them, true critiques from `spar_core.checks`, and
minimal refinements; then supervised fine-tuning of an actor and a refiner.
"""
