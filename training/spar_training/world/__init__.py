"""A synthetic world of short English texts with verifiable constraints."""
