"""One module for each family of attacks. Each has `ATTACKS`: coroutine functions that take a `Target`."""
