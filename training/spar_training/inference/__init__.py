"""Serve and call the models that a run samples from."""
