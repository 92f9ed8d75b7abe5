"""Files and batches of requests, in the database of the traces."""
