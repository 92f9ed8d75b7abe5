"""Which request runs when: lanes, fair queues, brown-out, draining, deadlines."""
