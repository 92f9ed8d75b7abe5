"""What takes prompts out: one small pure function a file. Each says why it takes a prompt out, or None."""
