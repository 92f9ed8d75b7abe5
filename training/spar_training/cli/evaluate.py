"""`spar eval`: the commands that measure models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spar_training.cli.subject import Seed, require_option, subject_options

if TYPE_CHECKING:
    from spar_training.evals.subject import Subject

app = typer.Typer(no_args_is_help=True, help="Measure models and pairs with verifiers and on public benchmarks.")

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
    """Measure a pair on prompts of the small world: its judge, its refinements, and the gain of a budget."""
    from spar_training.evals.world.command import run

    run(prompts=prompts, budget=budget, seed=seed, pair=pair, split=split, out=out)


@app.command()
@subject_options(optional=True, max_tokens=1280)
def ifeval(
    subject: Subject | None,
    responses: Annotated[
        Path | None, typer.Option(help='Score this file of lines {"prompt", "response"} instead of a model')
    ] = None,
    limit: Limit = None,
    data: Data = None,
    prompts: Annotated[Path | None, typer.Option(help="Use this JSONL file in IFEval's format instead")] = None,
    own_checks: Annotated[
        bool, typer.Option("--own-checks", help="Send each prompt's checks as `refine.checks` of its request")
    ] = False,
    out: Out = Path("runs/ifeval"),
) -> None:
    """IFEval: the four accuracies on verifiable instructions, their mean, and each instruction type."""
    from spar_training.evals.ifeval.command import run
    from spar_training.storage.extras import require

    require("training")

    run(
        subject=subject,
        responses=responses,
        data=data,
        prompts=prompts,
        limit=limit,
        own_checks=own_checks,
        out=out,
    )


@app.command()
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="NAME=FOLDER of finished evaluations; others are compared with the first of their benchmark"
        ),
    ],
    docs: Annotated[Path | None, typer.Option(help="Also write the tables to this Markdown file")] = None,
) -> None:
    """Compare evaluations of ifeval, judge, followbench, llmbar and general: figures, and paired differences."""
    from spar_training.evals.comparison import run
    from spar_training.storage.extras import require

    require("training")

    run(runs, docs=docs)


@app.command()
@subject_options(without=("refine_budget",), temperature=0.7)
def judge(
    subject: Subject,
    answers: Annotated[Path, typer.Option(help="Folder of a finished IFEval evaluation: the answers to judge")],
    kind: Annotated[Literal["holistic", "checklist"], typer.Option("--judge", help="How it judges")] = "holistic",
    votes: Annotated[int, typer.Option(min=1, help="Number of sampled judgements per answer; odd")] = 5,
    templates: Annotated[
        str, typer.Option(help="Prompt template set: the name of a shipped one, or a folder")
    ] = "default",
    out: Out = Path("runs/judge"),
) -> None:
    """A judge's accuracy on its actor's answers to IFEval, on good and on bad ones."""
    from spar_training.evals.judge.command import JudgeEval, run
    from spar_training.storage.extras import require

    require("training")

    run(subject, JudgeEval(answers=answers, judge=kind, votes=votes, templates=templates), out=out)


@app.command()
def agreement(
    each: Annotated[int, typer.Option(min=1, help="Number of constructed responses per IFEval instruction")] = 12,
    answers: Annotated[
        int, typer.Option(min=0, help="Number of answers of the tiny pair's actor to compare as well")
    ] = 300,
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
@subject_options(optional=True, without=("refine_budget",), max_tokens=1024)
def extraction(
    subject: Subject | None,
    source: Annotated[
        str, typer.Option(help="Annotated prompts: validation (of the verifier bootstrap), or ifeval")
    ] = "validation",
    limit: Limit = None,
    data: Data = None,
    out: Out = Path("runs/extraction"),
) -> None:
    """Measure the extraction of checklists: precision and recall of the rules and, with a model, of both together."""
    from spar_training.evals.extraction.command import Extraction, read_source, run
    from spar_training.storage.extras import require

    require("training")

    run(Extraction(source=read_source(source), limit=limit), subject=subject, data=data, out=out)


@app.command()
@subject_options(without=("refine_budget",), temperature=0.7)
def llmbar(
    subject: Subject,
    votes: Annotated[int, typer.Option(min=1, help="Number of sampled judgements per output; odd")] = 5,
    pairwise: Annotated[
        bool, typer.Option("--pairwise", help="Compare both outputs of a pair, in both orders")
    ] = False,
    templates: Annotated[
        str, typer.Option(help="Prompt template set: the name of a shipped one, or a folder")
    ] = "default",
    limit: Annotated[int | None, typer.Option(min=1, help="Evaluate only this many pairs of each subset")] = None,
    data: Data = None,
    out: Out = Path("runs/llmbar"),
) -> None:
    """LLMBar: a judge's accuracy on single outputs, by majority of 1, 3, 5, ... votes, and on pairs."""
    from spar_training.evals.llmbar.command import LLMBar, run
    from spar_training.storage.extras import require

    require("training")

    run(subject, LLMBar(votes=votes, templates=templates, pairwise=pairwise, limit=limit), data=data, out=out)


@app.command()
@subject_options()
def followbench(
    subject: Subject,
    judge_model: Annotated[
        str | None, typer.Option(help="The judge, like --model; without one only what rules can score is scored")
    ] = None,
    judge_url: Annotated[list[str] | None, typer.Option(help="URL of the judge, ending in /v1")] = None,
    judge_tries: Annotated[
        int, typer.Option(min=1, help="Maximum number of replies to request from the judge until one is readable")
    ] = 3,
    limit: Annotated[int | None, typer.Option(min=1, help="Evaluate only this many groups of each kind")] = None,
    data: Data = None,
    out: Out = Path("runs/followbench"),
) -> None:
    """FollowBench: HSR and SSR by level, and CSL, scored by rules and by a judge of your choice."""
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
        str, typer.Option(help="Tasks, separated by commas: gsm8k, triviaqa, mmlu, humaneval")
    ] = "gsm8k,triviaqa,mmlu",
    allow_code_execution: Annotated[
        bool, typer.Option("--allow-code-execution", help="Run the model's code in a sandbox (humaneval)")
    ] = False,
    baseline: Annotated[
        Path | None, typer.Option(help="result.json of another model to compare with, item by item")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Evaluate only this many items of each task")] = None,
    data: Data = None,
    out: Out = Path("runs/general"),
) -> None:
    """GSM8K, TriviaQA, MMLU and HumanEval by lm-evaluation-harness, compared with a baseline."""
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
