"""Run a stage over many items at once: resumable, with its progress shown."""
