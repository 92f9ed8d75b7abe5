"""Experiments with a published report: scaling, self-play and interference."""
