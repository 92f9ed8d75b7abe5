"""Run the tasks of this package by lm-evaluation-harness against a running server."""

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
    """Which tasks are run: of each the first `limit` items; code that a model wrote only with `allow_code`."""

    tasks: tuple[str, ...]
    limit: int | None
    allow_code: bool

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError(f"--tasks: names none; choose of {', '.join(TASKS)}")
        if unknown := [task for task in self.tasks if task not in TASKS]:
            raise ConfigError(f"--tasks {unknown[0]}: there is no such task; choose of {', '.join(TASKS)}")
        if "humaneval" in self.tasks and not self.allow_code:
            raise ConfigError(
                "humaneval runs code that the model writes: allow it by --allow-code-execution, "
                "or leave it out of --tasks"
            )


def evaluate(subject: Subject, asked: General, *, data: Path, cache: Path) -> list[Row]:
    """The items {id, right, response} of all tasks; the response to a prompt that the server refused is None.

    `cache` keeps every answer, so that an interrupted run asks only what is left.

    Raises:
        ConfigError: a data file is missing.
        BackendUnavailable: the server does not answer.
        BackendRejected: it refused every prompt, or the key.
        BackendProtocol: a reply is none, or every answer is empty.
    """
    if not subject.urls:
        raise ConfigError("--url is needed: the harness asks a running server")
    # What fails is told once, below, not once a request and again for each task that nobody awaits any more.
    for name in ("lm_eval", "lm-eval", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    from lm_eval import evaluator
    from lm_eval.tasks import TaskManager

    from spar_training.evals.harness.client import REFUSED, ChatClient, forget

    # It asks git of the folder it is started in, which need not be a repository: git would say so on the screen.
    evaluator.get_git_commit_hash = lambda: None
    client = ChatClient(
        model=subject.model,
        urls=subject.urls,
        num_concurrent=max(subject.in_flight, 2),
        seed=subject.seed,
    )
    found: dict[str, Any] = {"data": str(data)}
    cache.parent.mkdir(parents=True, exist_ok=True)
    try:
        results = evaluator.simple_evaluate(
            model=client,
            tasks=list(asked.tasks),
            task_manager=TaskManager(include_path=str(_FOLDER), include_defaults=False, metadata=found),
            metadata=found,
            use_cache=str(cache),
            limit=asked.limit,
            apply_chat_template=True,
            gen_kwargs={"temperature": subject.sampling.temperature, **subject.sampling.extra},
            # Our own intervals are drawn from the items.
            bootstrap_iters=0,
            confirm_run_unsafe_code=asked.allow_code,
            random_seed=subject.seed,
        )
    except (aiohttp.ClientError, TimeoutError) as error:
        if isinstance(error, aiohttp.ClientResponseError) and error.status in (401, 403):
            raise BackendRejected(
                f"the server refuses the key ({error.status} {error.message}): set OPENAI_API_KEY", status=error.status
            ) from error
        raise BackendUnavailable(
            f"the server does not answer ({type(error).__name__}: {error}); answers are kept, run again"
        ) from error
    assert results is not None
    forget(cache, REFUSED)
    rows = [row for task in asked.tasks for row in _rows(task, results["samples"][task])]
    if all(row["response"] is None for row in rows):
        raise BackendRejected(f"the server refused every prompt: {client.reason}; run again to ask again")
    if not any(row["response"] for row in rows):
        forget(cache, "")
        raise BackendProtocol("every answer of the server is empty; mend the server, run again to ask again")
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
