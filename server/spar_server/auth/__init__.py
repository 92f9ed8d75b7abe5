"""API keys, what each may use, and quotas."""
