"""Test-time scaling: what a budget buys, by every method, against the same drafts, decided by verifiers."""
