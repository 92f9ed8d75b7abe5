"""Distillation: the first fine-tuning data of a pair, answered, judged and refined by a strong model."""
