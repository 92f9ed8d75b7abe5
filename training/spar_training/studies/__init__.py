"""Studies with published reports: test-time scaling, self-play and interfering pairs."""
