"""What a search is in OpenTelemetry: a workflow span, its model calls, verdicts and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.errors import BackendUnavailable
from spar_core.types import Completion, Message, Sampling
from spar_server.settings import ActorUpstream, Settings, TelemetrySettings
from tests.support.pairs import refiner_script, scripted_pair
from tests.support.telemetry import id_of, of, parent_of

Observe = Callable[..., Any]


async def test_a_search_is_a_workflow_whose_children_are_its_model_calls(observed: Observe) -> None:
    server = observed()
    await server.ask(refine_budget=1, refine={"votes": 1})
    spans = server.collected.spans
    (root,) = [each for each in spans if each.name == "invoke_workflow pair"]
    calls = [each for each in spans if each is not root]
    assert {each.name for each in calls} == {"chat scripted"}
    assert {parent_of(each) for each in calls} == {id_of(root)}
    assert parent_of(root) is None
    assert sorted((of(each)["spar.role"], of(each)["spar.node.path"]) for each in calls) == [
        ("actor", "draft"),
        ("judge", "0"),
        ("judge", "draft"),
        ("refiner", "0"),
    ]


async def test_the_workflow_says_what_the_search_found(observed: Observe) -> None:
    server = observed()
    answer = await server.ask(refine_budget=4, refine={"votes": 3})
    root = of(server.collected.span(gen_ai__operation__name="invoke_workflow"))
    refinement = answer.json()["usage"]["refinement"]
    assert root["gen_ai.agent.name"] == "pair"
    assert root["spar.trace_id"] == answer.headers["x-spar-trace-id"]
    assert root["spar.request_id"] == answer.headers["x-request-id"]
    assert {
        name: root[f"spar.{name}"] for name in ("budget", "depth", "nodes", "stop_reason", "value", "improved")
    } == {name: refinement[name] for name in ("budget", "depth", "nodes", "stop_reason", "value", "improved")}


async def test_a_call_says_what_was_asked_and_what_it_cost(observed: Observe) -> None:
    server = observed()
    await server.ask(refine_budget=1, temperature=0.5, seed=7, max_tokens=50, stop=["END"])
    draft = of(server.collected.span(spar__role="actor"))
    assert {name: value for name, value in draft.items() if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "spar",
        "gen_ai.request.model": "scripted",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 2,
        "gen_ai.usage.output_tokens": 3,
    }


async def test_each_call_has_its_place_in_the_tree_and_its_kind(observed: Observe) -> None:
    server = observed()
    await server.ask(refine_budget=1, refine={"votes": 1})
    places = {
        of(each)["graph.node.id"]: (
            of(each).get("graph.node.parent_id"),
            of(each)["openinference.span.kind"],
            of(each)["langfuse.observation.type"],
        )
        for each in server.collected.spans
    }
    assert places == {
        "search": (None, "CHAIN", "chain"),
        "draft": ("search", "LLM", "generation"),
        "draft/judge": ("draft", "LLM", "evaluator"),
        "0": ("draft", "LLM", "generation"),
        "0/judge": ("0", "LLM", "evaluator"),
    }


async def test_for_phoenix_the_spans_are_the_tree(observed: Observe) -> None:
    server = observed(scores="phoenix")
    await server.ask(refine_budget=1, refine={"votes": 1})
    spans = {id_of(each): each for each in server.collected.spans}
    parents = {each.name: parent_of(each) for each in spans.values()}
    assert {name: parent and spans[parent].name for name, parent in parents.items()} == {
        "invoke_workflow pair": None,
        "draft": "invoke_workflow pair",
        "judge draft": "draft",
        "refine 0": "draft",
        "judge 0": "refine 0",
    }


async def test_each_verdict_is_an_event_on_the_call_that_wrote_what_was_judged(observed: Observe) -> None:
    server = observed()
    await server.ask(refine_budget=1, refine={"votes": 3})
    events = {f"{each.log_record.span_id:016x}": each.log_record for each in server.collected.events}
    draft, refined = server.collected.span(spar__role="actor"), server.collected.span(spar__role="refiner")
    assert set(events) == {id_of(draft), id_of(refined)}
    assert {each.event_name for each in events.values()} == {"gen_ai.evaluation.result"}
    assert dict(events[id_of(draft)].attributes or {}) == {
        "gen_ai.evaluation.name": "spar.holistic",
        "gen_ai.evaluation.score.value": 0.0,
        "gen_ai.evaluation.score.label": "rejected",
    }
    assert dict(events[id_of(refined)].attributes or {})["gen_ai.evaluation.score.label"] == "accepted"
    assert (of(refined)["spar.value"], of(refined)["spar.node.outcome"]) == (1.0, "judged")
    votes = [of(each)["spar.votes"] for each in server.collected.spans if "spar.votes" in of(each)]
    assert sorted(votes) == [("no",)] * 2 + [("yes",)] * 2


async def test_no_text_is_sent_unless_it_is_switched_on(observed: Observe) -> None:
    server = observed()
    await server.ask(refine_budget=1)
    (line,) = server.collected.lines
    assert not [text for text in (b"Hi there", b"plain draft", b"better answer", b"be better") if text in line]
    telling = observed(content=True)
    await telling.ask(refine_budget=1)
    (line,) = telling.collected.lines
    assert not [text for text in (b"Hi there", b"plain draft", b"better answer", b"be better") if text not in line]
    (rejected,) = [
        each
        for each in telling.collected.events
        if (each.log_record.attributes or {})["gen_ai.evaluation.score.label"] == "rejected"
    ]
    assert "be better" in str((rejected.log_record.attributes or {})["gen_ai.evaluation.explanation"])


@pytest.mark.parametrize("budget", [0, 1])
async def test_a_client_that_forbids_storing_keeps_its_texts(observed: Observe, budget: int) -> None:
    server = observed(content=True)
    await server.ask(refine_budget=budget, store=False)
    (line,) = server.collected.lines
    assert b"Hi there" not in line
    assert b"plain draft" not in line


async def test_half_characters_of_a_model_are_sent_as_replacements(observed: Observe) -> None:
    server = observed(scripted_pair(always("half \ud83d")), content=True)
    await server.ask(refine_budget=1)
    assert "half \ufffd" in of(server.collected.span(spar__role="actor"))["gen_ai.output.messages"]


async def test_calls_that_another_one_made_needless_are_cancelled_and_no_errors(observed: Observe) -> None:
    class FirstRefines(ScriptedBackend):
        """Answers the first refinement only."""

        async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
            if messages[-1].text == "Refine the response.":
                self.begun = getattr(self, "begun", 0) + 1
                if self.begun > 1:
                    await asyncio.Event().wait()
            return await super().complete(messages, sampling)

    pair = replace(scripted_pair(), refiner=FirstRefines(refiner_script))
    server = observed(pair)
    await server.ask(refine_budget=3, refine={"branch": 3})
    assert {each.status.status_code for each in server.collected.spans} == {StatusCode.UNSET}
    assert [each for each in server.collected.spans if of(each).get("spar.cancelled")]


async def test_a_failed_call_is_an_error_and_the_search_is_not(observed: Observe) -> None:
    def failing(messages: Sequence[Message], sampling: Sampling) -> str | BaseException:
        return BackendUnavailable("gone", status=503)

    server = observed(scripted_pair(refiner=failing))
    assert (await server.ask(refine_budget=1)).status_code == 200
    failed = [each for each in server.collected.spans if each.status.status_code is StatusCode.ERROR]
    assert {of(each)["spar.role"] for each in failed} == {"judge"}
    assert {of(each)["error.type"] for each in failed} == {"503"}
    assert server.collected.events == []


async def test_a_search_without_a_draft_is_an_error_with_its_status(observed: Observe) -> None:
    server = observed(scripted_pair(lambda messages, sampling: BackendUnavailable("gone", status=500)))
    status = (await server.ask(refine_budget=1)).status_code
    root = server.collected.span(gen_ai__operation__name="invoke_workflow")
    assert of(root)["error.type"] == str(status)
    (point,) = server.collected.metrics["gen_ai.server.request.duration"]
    assert point.attributes["error.type"] == str(status)


async def test_the_searches_of_several_answers_are_told_apart(observed: Observe) -> None:
    server = observed()
    await server.ask(refine_budget=2, n=2, refine={"votes": 1})
    drafts = [each for each in server.collected.spans if of(each).get("spar.role") == "actor"]
    assert sorted(of(each)["graph.node.id"] for each in drafts) == ["1/draft", "draft"]
    scored = {f"{each.log_record.span_id:016x}" for each in server.collected.events}
    assert {id_of(each) for each in drafts} <= scored


async def test_the_older_conventions_have_other_names(observed: Observe) -> None:
    server = observed(conventions="v1.41")
    await server.ask(refine_budget=1)
    await server.ask(stream=True)
    root = of(server.collected.span(gen_ai__operation__name="invoke_workflow"))
    assert root["gen_ai.workflow.name"] == "pair"
    assert "gen_ai.agent.name" not in root
    metrics = server.collected.metrics
    assert {each.attributes["gen_ai.token.type"] for each in metrics["gen_ai.client.token.usage"]} == {
        "input",
        "output",
    }
    assert set(metrics) == {
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.token.usage",
        "gen_ai.server.request.duration",
        "gen_ai.server.time_to_first_token",
    }


async def test_the_metrics_count_calls_tokens_and_times(observed: Observe) -> None:
    server = observed()
    answer = await server.ask(refine_budget=1, refine={"votes": 3})
    await server.ask(stream=True)
    metrics = server.collected.metrics
    used = answer.json()["usage"]["refinement"]
    (calls,) = metrics["gen_ai.client.inference.duration"]
    assert calls.count == sum(used["calls"].values()) + 1
    (output,) = metrics["gen_ai.client.inference.usage.output_tokens"]
    assert output.value == sum(each["completion"] for each in used["tokens"].values()) + 3
    (chunk,) = metrics["gen_ai.client.inference.time_to_first_chunk"]
    assert chunk.count == 1
    operations = {each.attributes["gen_ai.operation.name"] for each in metrics["gen_ai.server.request.duration"]}
    assert operations == {"invoke_workflow", "chat"}
    assert len(metrics["gen_ai.server.time_to_first_token"]) == 2


async def test_an_upstream_is_a_client_call_with_provider_and_address(observed: Observe) -> None:
    settings = Settings(
        actor=ActorUpstream(url=("https://api.groq.com/openai/v1",), model="m"), telemetry=TelemetrySettings()
    )
    server = observed(settings=settings)
    await server.ask(refine_budget=0)
    (span,) = server.collected.spans
    assert span.kind is SpanKind.CLIENT
    assert (of(span)["gen_ai.provider.name"], of(span)["server.address"], of(span)["server.port"]) == (
        "groq",
        "api.groq.com",
        443,
    )
