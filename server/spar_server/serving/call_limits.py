"""Limits on the model calls of one request: the server's and those of its API key."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from spar_core.errors import RequestError
from spar_core.frozen import frozen
from spar_core.types import Message
from spar_server.serving.plan import Plan
from spar_server.settings import ApiKey, Limits

# OpenAI's limit on completions per prompt.
_MAX_COMPLETIONS: Final = 128
# This many embedded texts, which are only read, cost as much as one generated answer.
_INPUTS_PER_CALL: Final = 16


@frozen
class CallLimits:
    """The limits on a key's requests: the lower of the server's and the key's own."""

    server: Limits
    key: ApiKey
    # The concurrent calls that one forwarded request can cause; more would leave other keys no capacity upstream.
    at_once: float = math.inf

    def check_plan(self, plan: Plan) -> None:
        """Raise RequestError, which names the field, if the plan exceeds a limit."""
        cost = plan.cost
        if cost == 1:
            return
        for name, count in (("n", plan.n), ("best_of", _count(plan.sampling.extra, "best_of"))):
            self._check(name, count, self.server.max_n, self.key.max_n)
        if plan.judges:
            self._check("refine.votes", plan.config.votes, self.server.max_votes, self.key.max_votes)
        budget = plan.config.budget
        what = f"n {plan.n}"
        if plan.judges:
            what += f", refine_budget {budget} and {plan.config.votes} votes"
            what += " (two calls for each that has to be asked for its verdict)" if plan.calls_per_vote > 1 else ""
        field = "n" if plan.n > 1 else "refine_budget" if budget else "refine.votes"
        self._check_calls(field, what, cost, fix="lower n, refine_budget or refine.votes")

    def check_judgements(self, answers: int, *, votes: int) -> None:
        """Raise RequestError if judging so many answers in one request takes too many calls."""
        self._check_calls(
            "query", f"{answers} answers with {votes} votes each", answers * votes, fix="send fewer answers at once"
        )

    def check_size(self, plan: Plan, size: int, response: str) -> None:
        """Check that a long request is not too long for its calls: judges read all of it, and each call sends a copy.

        `size` is the length of its body in bytes, `response` the answer that the client supplied.

        Raises:
            RequestError: it is too long, or too long for its number of concurrent calls; names the field.
        """
        if plan.judges:
            self._check_judged(plan.conversation, response)
        at_once, field = max((plan.n, "n"), (plan.config.votes if plan.judges else 1, "refine.votes"))
        limit = 4 * self.server.max_body_bytes
        if at_once > 1 and at_once * size > limit:
            raise RequestError(
                f"{field}: {at_once} calls for a body of {size} bytes are over this server's limit of {limit} bytes "
                "together; lower it, or shorten the request",
                param=field,
            )

    def _check_judged(self, conversation: Sequence[Message], response: str) -> None:
        length = len(response) + sum(map(_length, conversation))
        for field, value, limit in (
            ("response", len(response), self.server.max_response),
            ("messages", length, self.server.max_judged_text),
        ):
            if value > limit:
                raise RequestError(
                    f"{field}: {value} characters are over this server's limit of {limit} for judged text; "
                    "shorten it, or set refine_budget to 0",
                    param=field,
                )

    def calls_of_completions(self, body: Mapping[str, Any]) -> int:
        """The cost of a completions request: one call per prompt and completion.

        Raises:
            RequestError: it has too many prompts, completions per prompt, or completions in all; names the field.
        """
        prompts = _count_texts(body.get("prompt"))
        self._check("prompt", prompts, self.server.max_prompts, self.key.max_prompts)
        per_prompt = {name: _count(body, name) for name in ("n", "best_of")}
        for name, count in per_prompt.items():
            self._check(name, count, self.server.max_n, self.key.max_n)
        calls = prompts * max(per_prompt.values())
        field = "prompt" if prompts > 1 else max(per_prompt, key=lambda name: per_prompt[name])
        self._check_calls(
            field, f"{prompts} prompts with n {max(per_prompt.values())}", calls, fix="send it in several requests"
        )
        if calls > self.at_once:
            raise RequestError(
                f"{field}: {calls} concurrent completions are over one key's share of the upstream, {self.at_once:g}; "
                "send them in several requests",
                param=field,
            )
        return calls

    def calls_of_embeddings(self, body: Mapping[str, Any]) -> int:
        """The cost of an embeddings request: one call per 16 texts. Raises like `calls_of_completions`."""
        texts = _count_texts(body.get("input"))
        self._check("input", texts, self.server.max_inputs, None)
        return -(-texts // _INPUTS_PER_CALL)

    def _check_calls(self, field: str, what: str, calls: int, *, fix: str) -> None:
        limit, owner = _lower(self.server.max_calls, self.key.max_calls)
        if calls > limit:
            raise RequestError(
                f"{field}: {what} can take {calls} model calls, over {owner} limit of {limit} for one request; {fix}",
                param=field,
            )

    @staticmethod
    def _check(field: str, value: int, server: int, key: int | None) -> None:
        limit, owner = _lower(server, key)
        if value > limit:
            raise RequestError(f"{field}: {value} is over {owner} limit of {limit}; lower it", param=field)


def _lower(server: int, key: int | None) -> tuple[int, str]:
    return (server, "this server's") if key is None or key >= server else (key, "this key's")


def _length(message: Message) -> int:
    """The length of a message's text in characters."""
    if isinstance(message.content, str):
        return len(message.content)
    texts = [part.get("text") for part in message.content or ()]
    return sum(len(text) for text in texts if isinstance(text, str))


def _count_texts(value: Any) -> int:
    """The number of texts; a list of numbers is one text, in tokens."""
    if isinstance(value, list) and value and isinstance(value[0], str | list):
        return len(value)
    return 1


def _count(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name)
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_COMPLETIONS:
        raise RequestError(f"{name}: must be a whole number from 1 to {_MAX_COMPLETIONS}", param=name)
    return value
