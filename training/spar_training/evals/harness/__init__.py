"""GSM8K, TriviaQA, MMLU and HumanEval through lm-evaluation-harness: what a model could do it should still do."""
