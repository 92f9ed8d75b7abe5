"""The small world's evaluation, by verifiers."""
