"""A small world of short English texts under verifiable constraints."""
