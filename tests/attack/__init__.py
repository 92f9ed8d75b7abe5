"""Attacks on a real server: what strangers send, what models write and what upstreams answer.

`make attack` runs them and prints a table; see `__main__`.
"""
