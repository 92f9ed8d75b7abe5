"""Stored searches: what is recorded, where it is stored, and for how long."""
