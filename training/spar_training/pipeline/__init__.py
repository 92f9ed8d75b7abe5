"""Data stages: run one over many items at once, resume it, report its progress."""
