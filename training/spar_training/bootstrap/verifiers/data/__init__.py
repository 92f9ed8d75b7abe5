"""Training data from sampled answers: true critiques, repairs by program, and the balanced rows of each role."""
