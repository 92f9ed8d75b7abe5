"""IFEval: scoring and its command."""
