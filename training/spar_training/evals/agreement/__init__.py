"""Agreement of this project's checks with IFEval's own checker, as lm-evaluation-harness ships it."""
