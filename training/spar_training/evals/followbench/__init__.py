"""FollowBench (arXiv 2310.20410): instructions whose constraints are added one by one, on five levels."""
