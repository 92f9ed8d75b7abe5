"""Models that a run samples from: the servers it starts and the clients that call them."""
