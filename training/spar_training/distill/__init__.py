"""The first fine-tuning data of a pair, from a strong model: it answers, judges and refines."""
