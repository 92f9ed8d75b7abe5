"""The training package: worlds, recipes and the self-play loop."""
