"""FollowBench (arXiv 2310.20410): constraints added one by one, five levels, and how far a model follows."""
