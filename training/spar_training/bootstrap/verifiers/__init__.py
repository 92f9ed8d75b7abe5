"""A first pair for any base model, taught by verifiers in place of a strong model.

Prompts with verifiable constraints, the base's own answers to them, true critiques from `spar_core.checks`, and
minimal refinements; then supervised fine-tuning of an actor and a refiner.
"""
