"""The steps of a search as data: what `spar.event` contains in a stream with `refine.events`.

`path` locates a node in the tree: [] is the draft, [0, 2] the third child of the first child.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from spar_core.checklist import checklist_of
from spar_core.search.events import Called, Drafted, Event, Expanding, Finished, Judged, OfChoice, Refined, Voted
from spar_server.serving.usage import call_data, tokens

# Names of verdicts in responses; null is an abstention.
VERDICTS: Final[Mapping[bool | None, str | None]] = {True: "yes", False: "no", None: None}


def event_data(event: Event, *, prompts: bool = False) -> dict[str, Any]:
    """An event as JSON-ready data with its `type`; with `n` > 1 `choice` is the number of its search.

    With `prompts` a call has the `messages` that were sent.
    """
    match event:
        case Drafted(draft):
            return {"type": "draft", "text": draft.text, "usage": tokens(draft.usage)}
        case Expanding(path, critique):
            return {"type": "node", "path": list(path), "critique": critique}
        case Refined(path, refinement):
            return {
                "type": "refinement",
                "path": list(path),
                "text": refinement.text,
                "failure": refinement.failure,
                "usage": tokens(refinement.usage),
            }
        case Voted(path, vote):
            return {
                "type": "vote",
                "path": list(path),
                "verdict": VERDICTS[vote.verdict],
                "critique": vote.text,
                "error": vote.error,
                "usage": tokens(vote.usage),
            }
        case Called(path, call):
            sent = {"messages": [message.to_openai() for message in call.messages]} if prompts else {}
            return {"type": "call", "path": list(path), **call_data(call), **sent}
        case Judged(path, response, judgement):
            return {
                "type": "judgement",
                "path": list(path),
                "text": response,
                "value": judgement.value,
                "accepted": judgement.accepted,
                "abstained": judgement.abstained,
                "yes": judgement.yes,
                "no": judgement.no,
                "critique": judgement.critique,
                **({} if (checklist := checklist_of(judgement)) is None else {"checklist": checklist}),
            }
        case Finished(result):
            return {
                "type": "finish",
                "stop_reason": result.stop_reason,
                "answer": list(result.best.path),
                "accepted": result.accepted,
                "improved": result.improved,
                "nodes": result.nodes,
            }
        case OfChoice(choice, step):
            return {**event_data(step, prompts=prompts), "choice": choice}
