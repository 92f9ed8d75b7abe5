"""Train a causal language model on conversations (SFT) or preference pairs (DPO), with TRL."""
