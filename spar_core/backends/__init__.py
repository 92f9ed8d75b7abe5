"""Engines behind the `Backend` protocol; import the one you need."""
