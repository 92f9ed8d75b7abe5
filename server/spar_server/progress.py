"""A search's events as lines of text, for the client that watches the answer being made."""

from __future__ import annotations

from spar_core.search.events import Drafted, Event, Expanding, Finished, Judged, OfChoice, Refined


def progress_of(event: Event) -> str | None:
    """What a reader wants to know of this step; None for steps that say nothing of their own."""
    match event:
        case Drafted(draft):
            return f"Draft:\n{draft.text}\n\n"
        case Judged(path, _, judgement):
            verdict = "accepted" if judgement.accepted else "abstained" if judgement.abstained else "rejected"
            count = f"{judgement.yes} yes, {judgement.no} no" if judgement.votes else "a check failed"
            critique = "" if judgement.accepted else f"\n{judgement.critique or ''}"
            return f"Judged {_place(path)}: {verdict} ({count}){critique}\n\n"
        case Expanding(path, critique) if critique is None:
            return f"Sampling {_place(path)}.\n\n"
        case Refined(path, refinement):
            if refinement.text is None:
                return f"Refinement {_place(path)} failed: {refinement.failure}\n\n"
            return f"Refinement {_place(path)}:\n{refinement.text}\n\n"
        case Finished(result):
            return f"Finished: {result.stop_reason}, {result.nodes} nodes.\n"
        case OfChoice(choice, step):
            told = progress_of(step)
            return told and f"Answer {choice + 1}. {told}"
        case _:
            return None


def _place(path: tuple[int, ...]) -> str:
    return ".".join(str(number + 1) for number in path) if path else "draft"
