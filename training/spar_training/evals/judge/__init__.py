"""How often a judge is right about the answers of its own actor."""
