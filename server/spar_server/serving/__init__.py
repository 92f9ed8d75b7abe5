"""From a validated request to its answer: admit, plan, run."""
