"""The study of the self-play loop: what it gains, and what each of its parts contributes."""
