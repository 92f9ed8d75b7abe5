"""LLMBar (arXiv 2310.07641): how often a judge is right about which outputs follow their instruction."""
