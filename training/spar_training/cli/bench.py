"""`spar bench`: the commands that measure what compute buys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spar_core.errors import ConfigError
from spar_training.cli.subject import ExtraBody, InFlight, make_subject, require_option

if TYPE_CHECKING:
    from spar_training.evals.subject import Subject
    from spar_training.studies.scaling.sources import UrlModels

app = typer.Typer(no_args_is_help=True, help="Measure what test-time compute and self-play contribute.")
# Ample for any model's critique.
_SERVED_TOKENS = 2048
_METHODS = "bfs,dfs,best_first,iterative,best_of_n_all,best_of_n,self_consistency,similarity"


@app.command()
def scaling(
    pair: Annotated[Path | None, typer.Option(help="Folder with actor/ and refiner/ (default: the tiny pair)")] = None,
    url: Annotated[
        list[str] | None,
        typer.Option("--url", help="Instead of a folder: the actor's OpenAI-compatible URL; repeat it for each server"),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model name of the actor at --url")] = None,
    refiner_url: Annotated[
        list[str] | None, typer.Option("--refiner-url", help="URL of the refiner (default: the actor's)")
    ] = None,
    refiner_model: Annotated[str | None, typer.Option(help="Model name of the refiner (default: the actor's)")] = None,
    templates: Annotated[
        str | None, typer.Option(help="Prompt template set (default: compact for a folder, default for a URL)")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help=f"With --url: maximum tokens per call (default {_SERVED_TOKENS})")
    ] = None,
    extra_body: ExtraBody = None,
    in_flight: InFlight = 16,
    prompts: Annotated[int, typer.Option(min=1, help="Number of prompts")] = 500,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds per prompt")] = 3,
    budgets: Annotated[str, typer.Option(help="Refinement budgets, separated by commas")] = "0,1,2,4,8,16,32",
    methods: Annotated[str, typer.Option(help="Methods to compare, separated by commas")] = _METHODS,
    best_of: Annotated[
        int, typer.Option(min=1, help="Largest N of best-of-N that stops at the first accepted answer")
    ] = 64,
    best_of_all: Annotated[int, typer.Option(min=1, help="Largest N of best-of-N that judges all answers")] = 16,
    split: Annotated[str, typer.Option(help="held_out, or validation for tuning")] = "held_out",
    timed: Annotated[int, typer.Option(min=0, help="Number of prompts to time, one search at a time; 0 for none")] = 40,
    oracles: Annotated[
        bool | None,
        typer.Option("--oracles/--no-oracles", help="Include a perfect judge and refiner (default, except with --url)"),
    ] = None,
    ablations: Annotated[bool, typer.Option(help="Include variants that change one search setting each")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="Use few prompts and small budgets; takes a minute")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the run; an unfinished one is resumed")] = Path("runs/scaling"),
    docs: Annotated[Path | None, typer.Option(help="Also write scaling.md and img/ to this folder")] = None,
) -> None:
    """Compare ways to spend test-time compute, by calls, tokens and seconds, on prompts of the small world."""
    import shlex
    import sys

    from spar_training.storage.extras import require
    from spar_training.studies.scaling import command

    require("training")

    served = _served(
        url, model, refiner_url, refiner_model, max_tokens=max_tokens, extra_body=extra_body, in_flight=in_flight
    )
    options = command.Options(
        pair=pair,
        prompts=prompts,
        seeds=seeds,
        budgets=_numbers(budgets),
        methods=tuple(name.strip() for name in methods.split(",") if name.strip()),
        best_of=best_of,
        best_of_all=best_of_all,
        split=split,
        timed=timed,
        oracles=served is None if oracles is None else oracles,
        ablations=ablations,
        out=out,
        docs=docs,
        served=served,
        templates=templates,
    )
    command.run(command.quick(options) if quick else options, command=shlex.join(["spar", *sys.argv[1:]]))


def _served(
    url: list[str] | None,
    model: str | None,
    refiner_url: list[str] | None,
    refiner_model: str | None,
    *,
    max_tokens: int | None,
    extra_body: str | None,
    in_flight: int,
) -> UrlModels | None:
    if not url:
        given = {
            "--model": model, "--refiner-url": refiner_url, "--refiner-model": refiner_model,
            "--max-tokens": max_tokens, "--extra-body": extra_body,
        }  # fmt: skip
        if unused := [option for option, value in given.items() if value]:
            raise ConfigError(f"{unused[0]}: is for models by URL; give the actor's --url too")
        return None
    if refiner_url:
        require_option(refiner_model, "--refiner-model")
    from spar_training.studies.scaling.sources import UrlModels

    def subject(name: str, urls: list[str]) -> Subject:
        # The bench sets each call's temperature and seed.
        return make_subject(
            name,
            urls,
            temperature=0.0,
            max_tokens=max_tokens or _SERVED_TOKENS,
            seed=0,
            in_flight=in_flight,
            extra_body=extra_body,
        )

    actor = require_option(model, "--model")
    return UrlModels(actor=subject(actor, url), refiner=subject(refiner_model or actor, refiner_url or url))


@app.command()
def self_play(
    study: Annotated[str, typer.Option(help="Name of a shipped study, or a YAML file")] = "small-pair",
    out: Annotated[Path, typer.Option(help="Folder of the runs; unfinished ones are resumed")] = Path("runs/self-play"),
    docs: Annotated[Path | None, typer.Option(help="Also write self-play.md and img/ to this folder")] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Only report on finished runs")] = False,
) -> None:
    """Measure what each iteration and each part of self-play contributes."""
    import shlex
    import sys

    from spar_training.storage.extras import require
    from spar_training.studies.self_play import command

    require("training")

    # The report quotes the command that produced its figures.
    called = shlex.join(["spar", *(word for word in sys.argv[1:] if word != "--report-only")])
    command.run(study=study, out=out, docs=docs, report_only=report_only, command=called)


@app.command()
def interference(
    recipe: Annotated[str, typer.Option(help="Name of a shipped experiment, or a YAML file")] = "small-pair",
    split: Annotated[str | None, typer.Option(help="train, validation or held_out (default: the recipe's)")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run; an unfinished one is resumed")] = Path(
        "runs/interference"
    ),
) -> None:
    """Compare refined with interfering preference pairs on two synthetic tasks, by DPO step."""
    from spar_training.storage.extras import require
    from spar_training.studies.interference.command import run

    require("training")
    run(recipe=recipe, split=split, out=out)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise ConfigError(f"--budgets {text}: give whole numbers separated by commas, for example 0,1,2,4,8") from error
