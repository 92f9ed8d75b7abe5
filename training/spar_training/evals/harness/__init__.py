"""General ability (GSM8K, TriviaQA, MMLU, HumanEval), measured by lm-evaluation-harness to detect regressions."""
