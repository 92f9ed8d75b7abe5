"""What a batch has done and cost, counted from its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spar_client.batch.results import Row


@dataclass
class Totals:
    """Sums over rows. `uncounted` answers are those whose upstream does not report all tokens; the sums lack them."""

    answered: int = 0
    failed: int = 0
    bad: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    nodes: int = 0
    improved: int = 0
    calls: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        return self.answered + self.failed + self.bad

    def add(self, row: Row) -> None:
        response = row["response"]
        if response is None and row["error"]["code"] == "invalid_line":
            self.bad += 1
        elif response is None or response["status_code"] != 200:
            self.failed += 1
        else:
            self.answered += 1
            self._add_usage(response["body"].get("usage") or {})

    def _add_usage(self, usage: Mapping[str, Any]) -> None:
        # The Responses API has names of its own.
        prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
        completion = usage.get("completion_tokens", usage.get("output_tokens", 0))
        self.uncounted += prompt is None or completion is None
        self.prompt_tokens += prompt or 0
        self.completion_tokens += completion or 0
        refinement = usage.get("refinement") or {}
        self.nodes += refinement.get("nodes", 0)
        self.improved += bool(refinement.get("improved"))
        self.calls.update(refinement.get("calls", {}))

    def lines(self) -> list[str]:
        """The totals for people."""
        unknown = f" ({self.uncounted} answers without a full count)" if self.uncounted else ""
        calls = ", ".join(f"{role} {count:,}" for role, count in sorted(self.calls.items()))
        return [
            f"{self.answered:,} answered, {self.failed:,} failed, {self.bad:,} bad lines",
            f"{self.prompt_tokens:,} prompt tokens, {self.completion_tokens:,} generated tokens{unknown}",
            f"{self.nodes:,} nodes, {self.improved:,} answers improved; calls: {calls or 'none'}",
        ]
