"""IFEval (arXiv 2311.07911): accuracy on verifiable instructions."""
