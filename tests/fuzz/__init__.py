"""Fuzzing of what reads strangers' bytes: requests, upstreams' answers, and what models write.

`make fuzz` runs it; see `__main__`.
"""
