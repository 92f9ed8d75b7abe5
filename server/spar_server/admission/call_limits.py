"""How many model calls one request may ask for, by the server's limits and by its key's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spar_core.errors import RequestError
from spar_core.types import Message
from spar_server.serving.plan import Plan
from spar_server.settings import ApiKey, Limits

# OpenAI's own limit of completions for each prompt.
_MOST_COMPLETIONS: Final = 128
# Texts to embed, each of which is read and none written, that cost what one written answer does.
_INPUTS_OF_A_CALL: Final = 16


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The limits that hold for a key's requests: of the key's own and the server's the smaller."""

    server: Limits
    key: ApiKey
    # What one request that goes upstream whole may ask for at once: more would leave no other key a place there.
    at_once: float = math.inf

    def check_plan(self, plan: Plan) -> None:
        """Raises RequestError, which names the field, when the plan asks for more than it may."""
        cost = plan.cost
        if cost == 1:
            return
        for name, count in (("n", plan.n), ("best_of", _count(plan.sampling.extra, "best_of"))):
            self._check(name, count, self.server.max_n, self.key.max_n)
        if plan.judges:
            self._check("refine.votes", plan.config.votes, self.server.max_votes, self.key.max_votes)
        budget = plan.config.budget
        what = f"n {plan.n}, refine_budget {budget} and {plan.config.votes} votes" if plan.judges else f"n {plan.n}"
        field = "n" if plan.n > 1 else "refine_budget" if budget else "refine.votes"
        self._check_calls(field, what, cost, fix="lower n, refine_budget or refine.votes")

    def check_size(self, plan: Plan, size: int, response: str) -> None:
        """Whether a long request is no longer than its calls allow: judges read all of it, and each call sends a copy.

        `size` is that of its body, in bytes, `response` the answer that is there already.

        Raises:
            RequestError: it is too long, or asks for too many calls of its length; names the field.
        """
        if plan.judges:
            self._check_judged(plan.conversation, response)
        at_once, field = max((plan.n, "n"), (plan.config.votes if plan.judges else 1, "refine.votes"))
        most = 4 * self.server.max_body_bytes
        if at_once > 1 and at_once * size > most:
            raise RequestError(
                f"{field}: {at_once} calls for a body of {size} bytes are over this server's limit of {most} bytes "
                "together; lower it, or send less",
                param=field,
            )

    def _check_judged(self, conversation: Sequence[Message], response: str) -> None:
        length = len(response) + sum(map(_length, conversation))
        for field, value, most in (
            ("response", len(response), self.server.max_response),
            ("messages", length, self.server.max_judged_text),
        ):
            if value > most:
                raise RequestError(
                    f"{field}: {value} characters are over this server's limit of {most} for what is judged; "
                    "shorten it, or ask with refine_budget 0",
                    param=field,
                )

    def calls_of_completions(self, body: Mapping[str, Any]) -> int:
        """The cost of a completions request: one for each prompt's each completion.

        Raises:
            RequestError: it has more prompts, completions of one or both together than it may; names the field.
        """
        prompts = _texts(body.get("prompt"))
        self._check("prompt", prompts, self.server.max_prompts, self.key.max_prompts)
        of_each = {name: _count(body, name) for name in ("n", "best_of")}
        for name, count in of_each.items():
            self._check(name, count, self.server.max_n, self.key.max_n)
        calls = prompts * max(of_each.values())
        field = "prompt" if prompts > 1 else max(of_each, key=lambda name: of_each[name])
        self._check_calls(
            field, f"{prompts} prompts with n {max(of_each.values())}", calls, fix="send it in several requests"
        )
        if calls > self.at_once:
            raise RequestError(
                f"{field}: {calls} completions at once are over the {self.at_once:g} that one key may have of the "
                "upstream's places; send them in several requests",
                param=field,
            )
        return calls

    def calls_of_embeddings(self, body: Mapping[str, Any]) -> int:
        """The cost of an embeddings request: one for every 16 texts. Raises as `calls_of_completions` does."""
        texts = _texts(body.get("input"))
        self._check("input", texts, self.server.max_inputs, None)
        return -(-texts // _INPUTS_OF_A_CALL)

    def _check_calls(self, field: str, what: str, calls: int, *, fix: str) -> None:
        most, whose = _smaller(self.server.max_calls, self.key.max_calls)
        if calls > most:
            raise RequestError(
                f"{field}: {what} can take {calls} model calls, over {whose} limit of {most} for one request; {fix}",
                param=field,
            )

    @staticmethod
    def _check(field: str, value: int, server: int, key: int | None) -> None:
        most, whose = _smaller(server, key)
        if value > most:
            raise RequestError(f"{field}: {value} is over {whose} limit of {most}; ask for fewer at once", param=field)


def _smaller(server: int, key: int | None) -> tuple[int, str]:
    return (server, "this server's") if key is None or key >= server else (key, "this key's")


def _length(message: Message) -> int:
    """Of a message's text, in characters."""
    if isinstance(message.content, str):
        return len(message.content)
    texts = [part.get("text") for part in message.content or ()]
    return sum(len(text) for text in texts if isinstance(text, str))


def _texts(value: Any) -> int:
    """How many there are: a list of numbers is one, in tokens."""
    if isinstance(value, list) and value and isinstance(value[0], str | list):
        return len(value)
    return 1


def _count(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name)
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_COMPLETIONS:
        raise RequestError(f"{name}: must be a whole number from 1 to {_MOST_COMPLETIONS}", param=name)
    return value
