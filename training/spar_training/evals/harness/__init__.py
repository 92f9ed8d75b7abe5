"""GSM8K, TriviaQA, MMLU and HumanEval through lm-evaluation-harness: what a model could do before, it should still do."""
