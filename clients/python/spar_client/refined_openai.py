"""`openai` clients with a refinement budget: typed parameters, and `.refinement` on their results.

    from openai import OpenAI
    from spar_client.refined_openai import with_refinement

    client = with_refinement(OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none"), budget=8)
    completion = client.chat.completions.create(model="spar-135m", messages=[...], refine={"votes": 7})
    print(completion.refinement.stop_reason)

The client stays an `OpenAI` or `AsyncOpenAI`, so everything that takes one takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, Literal, Unpack, cast, overload

import openai
from openai.resources.chat import AsyncChat, Chat
from openai.resources.chat.completions import AsyncCompletions, Completions
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from spar_client.completion import Refinement
from spar_client.options import RefineOptions

_BUDGET_HEADER: Final = "X-Refine-Budget"


class RefinedCompletion(ChatCompletion):
    """A completion with what its search did and cost."""

    @property
    def refinement(self) -> Refinement:
        """`usage.refinement`.

        Raises:
            AttributeError: the server is not a SPaR Server.
        """
        found = _refinement(self.usage)
        if found is None:
            raise AttributeError("the completion has no usage.refinement: is this a SPaR Server?")
        return found


class RefinedChunk(ChatCompletionChunk):
    """A chunk of a stream; the last one has the `refinement`."""

    @property
    def refinement(self) -> Refinement | None:
        return _refinement(self.usage)


def _refinement(usage: openai.types.CompletionUsage | None) -> Refinement | None:
    found = (usage.model_extra or {}).get("refinement") if usage else None
    return None if found is None else Refinement.model_validate(found)


class CreateParams(CompletionCreateParamsBase, total=False):
    """`create`'s own parameters, and the options of any request."""

    refine_budget: int
    """Most nodes for this answer, instead of the client's budget."""
    refine: RefineOptions
    extra_headers: Mapping[str, str]
    extra_query: Mapping[str, object]
    extra_body: Mapping[str, Any]
    timeout: float


class RefinedCompletions(Completions):
    """`create` with `refine_budget` and `refine`."""

    @overload  # type: ignore[override]
    def create(self, *, stream: Literal[False] | None = None, **params: Unpack[CreateParams]) -> RefinedCompletion: ...

    @overload
    def create(self, *, stream: Literal[True], **params: Unpack[CreateParams]) -> openai.Stream[RefinedChunk]: ...

    def create(self, **params: Any) -> Any:
        return super().create(**_with_body(params))


class AsyncRefinedCompletions(AsyncCompletions):
    """`RefinedCompletions`, asynchronously."""

    @overload  # type: ignore[override]
    async def create(
        self, *, stream: Literal[False] | None = None, **params: Unpack[CreateParams]
    ) -> RefinedCompletion: ...

    @overload
    async def create(
        self, *, stream: Literal[True], **params: Unpack[CreateParams]
    ) -> openai.AsyncStream[RefinedChunk]: ...

    async def create(self, **params: Any) -> Any:
        return await super().create(**_with_body(params))


def _with_body(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters as `openai` takes them: ours become part of `extra_body`."""
    ours = {name: params.pop(name) for name in ("refine_budget", "refine") if name in params}
    if params.get("stream") is True:
        # The refinement is in the usage.
        params.setdefault("stream_options", {"include_usage": True})
    return {**params, "extra_body": {**ours, **(params.get("extra_body") or {})}}


class _RefinedChat(Chat):
    @cached_property
    def completions(self) -> RefinedCompletions:
        return RefinedCompletions(self._client)


class _AsyncRefinedChat(AsyncChat):
    @cached_property
    def completions(self) -> AsyncRefinedCompletions:
        return AsyncRefinedCompletions(self._client)


class RefinedOpenAI(openai.OpenAI):
    """An `OpenAI` whose chat completions are refined; made by `with_refinement`."""

    @cached_property
    def chat(self) -> _RefinedChat:
        return _RefinedChat(self)

    def post(self, path: str, *, cast_to: Any, **options: Any) -> Any:
        if cast_to is ChatCompletion:
            options["stream_cls"] = openai.Stream[RefinedChunk]
            return super().post(path, cast_to=RefinedCompletion, **options)
        return super().post(path, cast_to=cast_to, **options)


class AsyncRefinedOpenAI(openai.AsyncOpenAI):
    """An `AsyncOpenAI` whose chat completions are refined; made by `with_refinement`."""

    @cached_property
    def chat(self) -> _AsyncRefinedChat:
        return _AsyncRefinedChat(self)

    async def post(self, path: str, *, cast_to: Any, **options: Any) -> Any:
        if cast_to is ChatCompletion:
            options["stream_cls"] = openai.AsyncStream[RefinedChunk]
            return await super().post(path, cast_to=RefinedCompletion, **options)
        return await super().post(path, cast_to=cast_to, **options)


@overload
def with_refinement(client: openai.OpenAI, budget: int = 8) -> RefinedOpenAI: ...


@overload
def with_refinement(client: openai.AsyncOpenAI, budget: int = 8) -> AsyncRefinedOpenAI: ...


def with_refinement(client: openai.OpenAI | openai.AsyncOpenAI, budget: int = 8) -> RefinedOpenAI | AsyncRefinedOpenAI:
    """A copy of `client`, over the same connections, whose answers are refined by up to `budget` nodes.

    The budget holds for every endpoint that refines, also for `responses`; a request's own takes precedence.

    Raises:
        TypeError: `client` is not exactly one of openai's two clients for servers of any kind.
    """
    refined = {openai.OpenAI: RefinedOpenAI, openai.AsyncOpenAI: AsyncRefinedOpenAI}.get(type(client))
    if refined is None:
        raise TypeError(f"client: must be an openai.OpenAI or openai.AsyncOpenAI, not {type(client).__name__}")
    copy = client.with_options(default_headers={_BUDGET_HEADER: str(budget)})
    # openai offers no other way to a copy that shares connections and is of another class.
    copy.__class__ = refined
    return cast(RefinedOpenAI | AsyncRefinedOpenAI, copy)
