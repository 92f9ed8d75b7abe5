"""Files of a run: atomic writes, locks, digests, configuration, resuming."""
