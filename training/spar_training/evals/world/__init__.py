"""Evaluations of a pair on the synthetic world, scored by verifiers."""
