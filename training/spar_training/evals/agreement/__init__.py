"""How far this project's checks agree with IFEval's own checker, as lm-evaluation-harness ships it."""
