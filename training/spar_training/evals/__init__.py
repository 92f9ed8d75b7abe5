"""Evaluations of models and pairs, on public benchmarks and on the synthetic world."""
