"""Backends around another backend: caching, metering, ordering, defaults, adaptive concurrency."""
