"""The data stages of an iteration: sample, judge and search (arXiv 2412.11605)."""
