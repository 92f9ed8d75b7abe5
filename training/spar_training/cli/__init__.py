"""The commands `spar train`, `spar eval` and `spar bench`, which `spar` finds as entry points (`spar.commands`).

These modules are imported for `spar --help`, so whatever takes time to import is imported where a command runs.
"""
