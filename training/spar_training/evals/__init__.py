"""Evaluations that measure a pair by verifiers."""
