"""Admission control: lanes, fair queues, brown-out, draining, deadlines, and limits on model calls."""
