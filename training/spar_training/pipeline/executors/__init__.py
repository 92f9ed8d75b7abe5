"""Executors run a stage's items in this process or on a cluster."""
