"""Run the package's tasks with lm-evaluation-harness against a running server."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from spar_core.errors import BackendProtocol, BackendRejected, BackendUnavailable, ConfigError
from spar_training.evals.subject import Subject
from spar_training.storage.files import Row

TASKS: Final = ("gsm8k", "triviaqa", "mmlu", "humaneval")
_FOLDER: Final = Path(__file__).parent / "tasks"


@dataclass(frozen=True, kw_only=True)
class General:
    """The tasks to run, each on its first `limit` items. `allow_code` permits running code that the model wrote."""

    tasks: tuple[str, ...]
    limit: int | None
    allow_code: bool

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError(f"--tasks: names no task; choose from {', '.join(TASKS)}")
        if unknown := [task for task in self.tasks if task not in TASKS]:
            raise ConfigError(f"--tasks {unknown[0]}: there is no such task; choose from {', '.join(TASKS)}")
        if "humaneval" in self.tasks and not self.allow_code:
            raise ConfigError(
                "humaneval runs code that the model writes: allow it with --allow-code-execution, "
                "or leave humaneval out of --tasks"
            )


def evaluate(subject: Subject, settings: General, *, data: Path, cache: Path) -> list[Row]:
    """Return the items {id, right, response} of all tasks; `response` is None for a prompt that the server refused.

    Answers are stored in `cache`, so that a run that was interrupted requests only the missing ones.

    Raises:
        ConfigError: a data file is missing.
        BackendUnavailable: the server does not answer.
        BackendRejected: the server refused every prompt, or the key.
        BackendProtocol: a reply is malformed, or every answer is empty.
    """
    if not subject.urls:
        raise ConfigError("--url is needed: the harness queries a running server")
    # Failures are reported once, below, not for every request and every abandoned task.
    for name in ("lm_eval", "lm-eval", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    from lm_eval import evaluator
    from lm_eval.tasks import TaskManager

    from spar_training.evals.harness.client import REFUSED, ChatClient, evict

    # The harness runs git in the working directory, which would print an error if that is not a repository.
    evaluator.get_git_commit_hash = lambda: None
    client = ChatClient(
        model=subject.model,
        urls=subject.urls,
        num_concurrent=max(subject.in_flight, 2),
        seed=subject.seed,
    )
    metadata: dict[str, Any] = {"data": str(data)}
    cache.parent.mkdir(parents=True, exist_ok=True)
    try:
        results = evaluator.simple_evaluate(
            model=client,
            tasks=list(settings.tasks),
            task_manager=TaskManager(include_path=str(_FOLDER), include_defaults=False, metadata=metadata),
            metadata=metadata,
            use_cache=str(cache),
            limit=settings.limit,
            apply_chat_template=True,
            gen_kwargs={"temperature": subject.sampling.temperature, **subject.sampling.extra},
            # The intervals are computed from the items instead.
            bootstrap_iters=0,
            confirm_run_unsafe_code=settings.allow_code,
            random_seed=subject.seed,
        )
    except (aiohttp.ClientError, TimeoutError) as error:
        if isinstance(error, aiohttp.ClientResponseError) and error.status in (401, 403):
            raise BackendRejected(
                f"the server rejects the key ({error.status} {error.message}): set OPENAI_API_KEY", status=error.status
            ) from error
        raise BackendUnavailable(
            f"the server does not answer ({type(error).__name__}: {error}); finished answers are saved, run again"
        ) from error
    assert results is not None
    evict(cache, REFUSED)
    rows = [row for task in settings.tasks for row in _rows(task, results["samples"][task])]
    if all(row["response"] is None for row in rows):
        raise BackendRejected(f"the server refused every prompt: {client.reason}; run again to retry")
    if not any(row["response"] for row in rows):
        evict(cache, "")
        raise BackendProtocol("every answer of the server is empty; fix the server and run again")
    return rows


def _rows(task: str, samples: Sequence[Any]) -> list[Row]:
    from spar_training.evals.harness.client import REFUSED

    return [
        {
            "id": f"{task}/{one['doc_id']}",
            "right": one["right"],
            "response": None if (answer := one["resps"][0][0]) == REFUSED else answer,
        }
        for one in sorted(samples, key=lambda one: one["doc_id"])
    ]
