"""HTTP/1.1 as this server speaks it: connections, their limits, and who may open them."""
