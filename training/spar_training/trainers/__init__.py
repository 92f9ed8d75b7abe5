"""Training of any causal language model on conversations and on preference pairs, by TRL."""
