"""Train a first pair: a tiny one from scratch, or from a chat model with `verifiers`."""
