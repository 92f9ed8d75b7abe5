"""Training methods: what an iteration samples, judges and trains."""
