"""The study of the self-play loop: what it brings, and what each of its parts is worth."""
