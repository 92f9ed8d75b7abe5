"""The data stages of an iteration: sample, judge, choose negatives, search (arXiv 2412.11605)."""
