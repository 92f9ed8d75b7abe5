"""`spar eval`: the commands that measure models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spar_core.errors import ConfigError

if TYPE_CHECKING:
    from spar_training.evals.subject import Subject

app = typer.Typer(no_args_is_help=True, help="Measure models and pairs: by verifiers, and as the field does.")

Url = Annotated[
    list[str] | None,
    typer.Option("--url", help="OpenAI-compatible URL of the model, ending in /v1; once for each of its servers"),
]
Model = Annotated[str | None, typer.Option(help="The model's name there, or without --url a model's folder")]
Data = Annotated[Path | None, typer.Option(envvar="SPAR_DATA", help="Folder of the data sets, or hf:OWNER/NAME")]
Out = Annotated[Path, typer.Option(help="Folder for items, result and report; an unfinished run in it is resumed")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many items")]
RefineBudget = Annotated[int | None, typer.Option(min=0, help="`refine_budget` of every request")]
ExtraBody = Annotated[str | None, typer.Option(help="JSON object whose keys go into every request")]
Temperature = Annotated[float, typer.Option(min=0, help="Sampling temperature")]
MaxTokens = Annotated[int, typer.Option(min=1, help="Most tokens of an answer")]
Seed = Annotated[int, typer.Option(help="Seed of every sampled number")]
InFlight = Annotated[int, typer.Option(min=1, help="Most requests at once")]


def to_subject(
    model: str,
    url: list[str] | None,
    *,
    temperature: float,
    max_tokens: int | None,
    seed: int,
    in_flight: int,
    refine_budget: int | None = None,
    extra_body: str | None = None,
) -> Subject:
    from spar_core.types import Sampling
    from spar_training.evals.subject import Subject

    sampling = Sampling(temperature=temperature, max_tokens=max_tokens, extra=_extra(refine_budget, extra_body))
    return Subject(model=model, urls=tuple(url or ()), sampling=sampling, seed=seed, in_flight=in_flight)


def _extra(refine_budget: int | None, extra_body: str | None) -> dict[str, Any]:
    try:
        extra = json.loads(extra_body) if extra_body else {}
    except ValueError as error:
        raise ConfigError(f"--extra-body: not JSON ({error})") from error
    if not isinstance(extra, dict):
        raise ConfigError("--extra-body: must be a JSON object")
    return extra if refine_budget is None else {**extra, "refine_budget": refine_budget}


def needed(value: str | None, option: str) -> str:
    if value is None:
        raise ConfigError(f"{option} is needed")
    return value


@app.command()
def world(
    prompts: Annotated[int, typer.Option(min=1, help="Held-out prompts")] = 500,
    budget: Annotated[int, typer.Option(min=1, help="Refinement budget compared with 0")] = 8,
    seed: Seed = 0,
    pair: Annotated[Path | None, typer.Option(help="Folder with actor/ and refiner/ (default shipped)")] = None,
    split: Annotated[str, typer.Option(help="held_out, or validation for tuning")] = "held_out",
    out: Annotated[Path | None, typer.Option(help="Write the result as JSON here")] = None,
) -> None:
    """Measure a pair on held-out prompts of its world: judge, refinement, and what a budget buys."""
    from spar_training.evals.world.command import run

    run(prompts=prompts, budget=budget, seed=seed, pair=pair, split=split, out=out)


@app.command()
def ifeval(
    url: Url = None,
    model: Model = None,
    responses: Annotated[
        Path | None, typer.Option(help='Score this file of lines {"prompt", "response"}; no model is asked')
    ] = None,
    refine_budget: RefineBudget = None,
    extra_body: ExtraBody = None,
    temperature: Temperature = 0.0,
    max_tokens: MaxTokens = 1280,
    seed: Seed = 0,
    limit: Limit = None,
    in_flight: InFlight = 16,
    data: Data = None,
    prompts: Annotated[Path | None, typer.Option(help="Another JSONL file of IFEval's form")] = None,
    out: Out = Path("runs/ifeval"),
) -> None:
    """IFEval: four accuracies by verifiable instructions, their mean, and each instruction type."""
    from spar_training.evals.ifeval.command import run
    from spar_training.storage.extras import require

    require("training")

    subject = None
    if url or model:
        subject = to_subject(
            needed(model, "--model"),
            url,
            temperature=temperature,
            max_tokens=max_tokens,
            seed=seed,
            in_flight=in_flight,
            refine_budget=refine_budget,
            extra_body=extra_body,
        )
    run(subject=subject, responses=responses, data=data, prompts=prompts, limit=limit, out=out)


@app.command()
def agreement(
    each: Annotated[int, typer.Option(min=1, help="Constructed responses for each of IFEval's instructions")] = 12,
    answers: Annotated[int, typer.Option(min=0, help="Answers of the shipped actor that are compared as well")] = 300,
    seed: Seed = 0,
    data: Data = None,
    out: Out = Path("runs/agreement"),
) -> None:
    """Compare the checks with IFEval's own checker (lm-evaluation-harness), instruction by instruction."""
    from spar_training.evals.agreement.command import run
    from spar_training.storage.extras import require

    require("training")
    require("eval")

    run(data=data, each=each, answers=answers, seed=seed, out=out)


@app.command()
def llmbar(
    model: Annotated[str, typer.Option(help="The judge: its name at --url, or without --url its folder")],
    url: Url = None,
    votes: Annotated[int, typer.Option(min=1, help="Sampled judgements of one output; odd")] = 5,
    pairwise: Annotated[
        bool, typer.Option("--pairwise", help="Compare both outputs of a pair, in both orders")
    ] = False,
    templates: Annotated[str, typer.Option(help="Prompt templates: default, brief, compact or a folder")] = "default",
    extra_body: ExtraBody = None,
    temperature: Temperature = 0.7,
    max_tokens: MaxTokens = 2048,
    seed: Seed = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many pairs of each subset")] = None,
    in_flight: InFlight = 16,
    data: Data = None,
    out: Out = Path("runs/llmbar"),
) -> None:
    """LLMBar: how often a judge is right about single outputs, by majority of 1, 3, 5, ... votes, and about pairs."""
    from spar_training.evals.llmbar.command import LLMBar, run
    from spar_training.storage.extras import require

    require("training")

    subject = to_subject(
        model,
        url,
        temperature=temperature,
        max_tokens=max_tokens,
        seed=seed,
        in_flight=in_flight,
        extra_body=extra_body,
    )
    run(subject, LLMBar(votes=votes, templates=templates, pairwise=pairwise, limit=limit), data=data, out=out)


@app.command()
def followbench(
    model: Annotated[str, typer.Option(help="The model's name at --url, or without --url its folder")],
    url: Url = None,
    judge_model: Annotated[
        str | None, typer.Option(help="The judge, likewise; without one only what rules can score is scored")
    ] = None,
    judge_url: Annotated[list[str] | None, typer.Option(help="URL of the judge, ending in /v1")] = None,
    judge_tries: Annotated[int, typer.Option(min=1, help="Most replies asked of the judge until one can be read")] = 3,
    refine_budget: RefineBudget = None,
    extra_body: ExtraBody = None,
    temperature: Temperature = 0.0,
    max_tokens: MaxTokens = 2048,
    seed: Seed = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many groups of each kind")] = None,
    in_flight: InFlight = 16,
    data: Data = None,
    out: Out = Path("runs/followbench"),
) -> None:
    """FollowBench: SSR and HSR by level and CSL, by rules and by a judge of your choice."""
    from spar_training.evals.followbench.command import FollowBench, run
    from spar_training.storage.extras import require

    require("training")

    subject = to_subject(
        model,
        url,
        temperature=temperature,
        max_tokens=max_tokens,
        seed=seed,
        in_flight=in_flight,
        refine_budget=refine_budget,
        extra_body=extra_body,
    )
    judge = None
    if judge_url:
        needed(judge_model, "--judge-model")
    if judge_model:
        judge = to_subject(
            judge_model, judge_url, temperature=0.0, max_tokens=max_tokens, seed=seed, in_flight=in_flight
        )
    run(subject, FollowBench(judge=judge, tries=judge_tries, limit=limit), data=data, out=out)


@app.command()
def general(
    model: Annotated[str, typer.Option(help="The model's name at --url")],
    url: Annotated[str, typer.Option(help="OpenAI-compatible URL, ending in /v1")],
    tasks: Annotated[
        str, typer.Option(help="Of gsm8k, triviaqa, mmlu and humaneval, with commas")
    ] = "gsm8k,triviaqa,mmlu",
    allow_code_execution: Annotated[
        bool, typer.Option("--allow-code-execution", help="Run the code that the model writes (humaneval), bounded")
    ] = False,
    baseline: Annotated[Path | None, typer.Option(help="result.json of another model, to compare item by item")] = None,
    refine_budget: RefineBudget = None,
    extra_body: ExtraBody = None,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many items of each task")] = None,
    in_flight: InFlight = 16,
    data: Data = None,
    out: Out = Path("runs/general"),
) -> None:
    """GSM8K, TriviaQA, MMLU and HumanEval by lm-evaluation-harness, and what changed since a baseline."""
    from spar_training.evals.harness.command import run
    from spar_training.evals.harness.evaluation import General
    from spar_training.storage.extras import require

    require("training")
    require("eval")

    asked = General(
        tasks=tuple(task.strip() for task in tasks.split(",") if task.strip()),
        limit=limit,
        allow_code=allow_code_execution,
    )
    # Each task says how long its answers may be.
    subject = to_subject(
        model,
        [url],
        temperature=temperature,
        max_tokens=None,
        seed=seed,
        in_flight=in_flight,
        refine_budget=refine_budget,
        extra_body=extra_body,
    )
    run(subject, asked, baseline=baseline, data=data, out=out)
