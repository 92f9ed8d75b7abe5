"""Where a stage's items are worked on: in this process, or on a cluster."""
