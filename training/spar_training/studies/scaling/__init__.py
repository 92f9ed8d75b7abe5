"""The study of test-time scaling: what a budget buys with each method, from the same drafts and by verifiers."""
