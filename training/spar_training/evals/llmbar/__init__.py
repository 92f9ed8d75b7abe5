"""LLMBar (arXiv 2310.07641): is a judge right about which outputs follow their instruction?"""
