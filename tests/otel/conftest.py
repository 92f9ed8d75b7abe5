"""Phoenix has an environment of its own, which `make test-otel` makes."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("phoenix") else ["test_*.py"]
