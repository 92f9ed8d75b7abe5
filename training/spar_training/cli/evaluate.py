"""`spar eval`: the commands that measure models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spar_training.cli.subject import Seed, require_option, subject_options

if TYPE_CHECKING:
    from spar_training.evals.subject import Subject

app = typer.Typer(no_args_is_help=True, help="Measure models and pairs: by verifiers, and as the field does.")

Data = Annotated[Path | None, typer.Option(envvar="SPAR_DATA", help="Folder of the data sets, or hf:OWNER/NAME")]
Out = Annotated[Path, typer.Option(help="Folder for items, result and report; an unfinished run in it is resumed")]
Limit = Annotated[int | None, typer.Option(min=1, help="Evaluate only this many items")]


@app.command()
def world(
    prompts: Annotated[int, typer.Option(min=1, help="Held-out prompts")] = 500,
    budget: Annotated[int, typer.Option(min=1, help="Refinement budget compared with 0")] = 8,
    seed: Seed = 0,
    pair: Annotated[Path | None, typer.Option(help="Folder with actor/ and refiner/ (default: the tiny pair)")] = None,
    split: Annotated[str, typer.Option(help="held_out, or validation for tuning")] = "held_out",
    out: Annotated[Path | None, typer.Option(help="Write the result as JSON here")] = None,
) -> None:
    """Measure a pair on held-out prompts of its world: judge, refinement, and what a budget buys."""
    from spar_training.evals.world.command import run

    run(prompts=prompts, budget=budget, seed=seed, pair=pair, split=split, out=out)


@app.command()
@subject_options(optional=True, max_tokens=1280)
def ifeval(
    subject: Subject | None,
    responses: Annotated[
        Path | None, typer.Option(help='Score this file of lines {"prompt", "response"}; no model is asked')
    ] = None,
    limit: Limit = None,
    data: Data = None,
    prompts: Annotated[Path | None, typer.Option(help="Another JSONL file of IFEval's form")] = None,
    out: Out = Path("runs/ifeval"),
) -> None:
    """IFEval: four accuracies by verifiable instructions, their mean, and each instruction type."""
    from spar_training.evals.ifeval.command import run
    from spar_training.storage.extras import require

    require("training")

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
@subject_options(without=("refine_budget",), temperature=0.7)
def llmbar(
    subject: Subject,
    votes: Annotated[int, typer.Option(min=1, help="Sampled judgements of one output; odd")] = 5,
    pairwise: Annotated[
        bool, typer.Option("--pairwise", help="Compare both outputs of a pair, in both orders")
    ] = False,
    templates: Annotated[str, typer.Option(help="Prompt templates: default, brief, compact or a folder")] = "default",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many pairs of each subset")] = None,
    data: Data = None,
    out: Out = Path("runs/llmbar"),
) -> None:
    """LLMBar: how often a judge is right about single outputs, by majority of 1, 3, 5, ... votes, and about pairs."""
    from spar_training.evals.llmbar.command import LLMBar, run
    from spar_training.storage.extras import require

    require("training")

    run(subject, LLMBar(votes=votes, templates=templates, pairwise=pairwise, limit=limit), data=data, out=out)


@app.command()
@subject_options()
def followbench(
    subject: Subject,
    judge_model: Annotated[
        str | None, typer.Option(help="The judge, likewise; without one only what rules can score is scored")
    ] = None,
    judge_url: Annotated[list[str] | None, typer.Option(help="URL of the judge, ending in /v1")] = None,
    judge_tries: Annotated[int, typer.Option(min=1, help="Most replies asked of the judge until one can be read")] = 3,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many groups of each kind")] = None,
    data: Data = None,
    out: Out = Path("runs/followbench"),
) -> None:
    """FollowBench: SSR and HSR by level and CSL, by rules and by a judge of your choice."""
    from spar_core.types import Sampling
    from spar_training.evals.followbench.command import FollowBench, run
    from spar_training.storage.extras import require

    require("training")

    judge = None
    if judge_url:
        require_option(judge_model, "--judge-model")
    if judge_model:
        sampling = Sampling(temperature=0.0, max_tokens=subject.sampling.max_tokens)
        judge = replace(subject, model=judge_model, urls=tuple(judge_url or ()), sampling=sampling)
    run(subject, FollowBench(judge=judge, tries=judge_tries, limit=limit), data=data, out=out)


@app.command()
# Each task sets the length of its answers.
@subject_options(without=("max_tokens",))
def general(
    subject: Subject,
    tasks: Annotated[
        str, typer.Option(help="Of gsm8k, triviaqa, mmlu and humaneval, with commas")
    ] = "gsm8k,triviaqa,mmlu",
    allow_code_execution: Annotated[
        bool, typer.Option("--allow-code-execution", help="Run the code that the model writes (humaneval), bounded")
    ] = False,
    baseline: Annotated[Path | None, typer.Option(help="result.json of another model, to compare item by item")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many items of each task")] = None,
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
    run(subject, asked, baseline=baseline, data=data, out=out)
