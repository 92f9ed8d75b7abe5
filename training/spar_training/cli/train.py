"""`spar train`: the commands that train models and prepare their data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from spar_training.cli.renamed_options import RenamedOptions

app = typer.Typer(no_args_is_help=True, help="Train actors and refiners, and prepare their data.")


@app.command(cls=RenamedOptions)
def bootstrap(
    base: Annotated[
        str | None,
        typer.Option(help="Chat model to start from: a folder, a GGUF file or a Hugging Face name (default none)"),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Name of a shipped recipe, or a YAML file (default small-pair; with --base smollm2-135m)"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run; an unfinished one is resumed")] = Path("runs/bootstrap"),
    seeds: Annotated[
        list[Path] | None, typer.Option(help="With --base: file or folder of seed prompts; may be repeated")
    ] = None,
    benchmark: Annotated[
        list[Path] | None,
        typer.Option(help="With --base: file or folder of a benchmark, whose prompts are excluded; may be repeated"),
    ] = None,
    ship: Annotated[
        Path | None,
        typer.Option(help="Folder for the finished pair, or with --base for its adapters (default OUT/pair)"),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Number of CPU threads (default: all cores)")] = None,
) -> None:
    """Train a first pair: from a chat model (--base) on verified data, or a tiny one from scratch."""
    from spar_core.errors import ConfigError
    from spar_training.storage.extras import require

    require("training")
    if base is None:
        if seeds or benchmark:
            raise ConfigError("--seeds and --benchmark need --base: without it, prompts come from the synthetic world")
        from spar_training.bootstrap.command import run

        run(recipe=recipe or "small-pair", out=out, ship=ship, threads=threads)
        return
    from spar_training.bootstrap.verifiers.command import run as run_from_base

    run_from_base(
        base=base,
        recipe=recipe or "smollm2-135m",
        out=out,
        seeds=seeds or (),
        against=benchmark or (),
        ship=ship,
        threads=threads,
    )


@app.command()
def run(
    recipe: Annotated[
        str, typer.Option(help="Name of a shipped recipe, a YAML file, or the folder of a run to repeat")
    ] = "small-pair",
    set: Annotated[
        list[str] | None, typer.Option(help="Change a recipe key: KEY=VALUE, e.g. start.actor=FOLDER; may be repeated")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; an unfinished one is resumed")] = None,
    executor: Annotated[str, typer.Option(help="Where the data stages run: local or ray (a cluster)")] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of the Ray cluster (default RAY_ADDRESS, else a new one on this machine)"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of Ray workers (default: one per model server, GPU or node)")
    ] = None,
) -> None:
    """Run self-play: each iteration samples, judges and searches, then trains and evaluates the next pair."""
    from spar_training.commands.run import run as go
    from spar_training.storage.extras import require

    require("training")
    go(recipe=recipe, changes=set or (), out=out, executor=executor, ray_address=ray_address, workers=workers)


@app.command(cls=RenamedOptions)
def evolve(
    seeds: Annotated[list[Path], typer.Argument(help="JSONL files of seed prompts")],
    model: Annotated[str, typer.Option(help="Model name at the URL, or without a URL a model folder")],
    out: Annotated[Path, typer.Option(help="Folder of the prompts; an unfinished run in it is resumed")],
    url: Annotated[
        list[str] | None, typer.Option(help="OpenAI-compatible URL, ending in /v1; repeat it for each server")
    ] = None,
    api_key_env: Annotated[str, typer.Option(help="Environment variable with the API key")] = "OPENAI_API_KEY",
    benchmark: Annotated[
        list[Path] | None,
        typer.Option(help="File or folder of a benchmark that must not contain the prompts; may be repeated"),
    ] = None,
    drop_leaks: Annotated[bool, typer.Option("--drop-leaks", help="Remove prompts that are in a benchmark")] = False,
    per_seed: Annotated[int, typer.Option(min=1, help="Number of prompts to evolve from each seed prompt")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of seed prompts to draw (default all)")] = None,
    seed: Annotated[int, typer.Option(help="Random seed")] = 0,
    language: Annotated[str, typer.Option(help="Language code that prompts must have")] = "en",
    min_words: Annotated[int, typer.Option(min=1, help="Minimum number of words in a prompt")] = 3,
    max_words: Annotated[int, typer.Option(min=1, help="Maximum number of words in a prompt")] = 600,
    near_duplicate_threshold: Annotated[
        float, typer.Option(min=0.1, max=1, help="Jaccard similarity from which prompts are near duplicates")
    ] = 0.7,
    self_bleu: Annotated[
        float, typer.Option(min=0, max=1, help="Maximum BLEU of a seed prompt with an accepted one")
    ] = 0.5,
    contamination_threshold: Annotated[
        float, typer.Option(min=0.1, max=1, help="Containment from which a prompt counts as leaked")
    ] = 0.6,
    temperature: Annotated[float, typer.Option(min=0, help="Sampling temperature")] = 0.9,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="Nucleus sampling")] = 0.9,
    max_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of a reply in tokens")] = 1024,
    in_flight: Annotated[int, typer.Option(min=1, help="Maximum number of concurrent calls")] = 64,
    answer_timeout: Annotated[
        float | None, typer.Option(min=1, help="Seconds that a server may take for an answer (default 240)")
    ] = None,
) -> None:
    """Evolve seed prompts by adding constraints, filter them, and exclude benchmark prompts."""
    from spar_core.types import Sampling
    from spar_training.prompt_evolution.command import run
    from spar_training.prompt_evolution.filters.quality import Bounds
    from spar_training.prompt_evolution.settings import EvolveSettings, FilterSettings

    settings = EvolveSettings(
        seeds=tuple(seeds),
        out=out,
        benchmarks=tuple(benchmark or ()),
        drop_leaks=drop_leaks,
        seed=seed,
        per_seed=per_seed,
        limit=limit,
        filters=FilterSettings(
            bounds=Bounds(min_words=min_words, max_words=max_words),
            language=language,
            near_duplicate_threshold=near_duplicate_threshold,
            self_bleu=self_bleu,
            contamination_threshold=contamination_threshold,
        ),
        sampling=Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens),
    )
    run(settings, model=model, urls=url or (), key_env=api_key_env, in_flight=in_flight, answer_s=answer_timeout)


@app.command("check-leaks", cls=RenamedOptions)
def check_leaks(
    file: Annotated[Path, typer.Argument(help="JSON, JSONL or CSV file of prompts or conversations")],
    benchmark: Annotated[list[Path], typer.Option(help="File or folder of a benchmark; may be repeated")],
    contamination_threshold: Annotated[
        float, typer.Option(min=0.1, max=1, help="Containment from which a prompt counts as leaked")
    ] = 0.6,
    drop_to: Annotated[
        Path | None, typer.Option(help="Write the rows that are not leaked to this .jsonl or .json file")
    ] = None,
) -> None:
    """Fail if training prompts are in a benchmark, or nearly identical to one of its prompts."""
    from spar_training.prompt_evolution.command import check

    check(file, benchmarks=benchmark, threshold=contamination_threshold, drop_to=drop_to)


@app.command(cls=RenamedOptions)
def distill(
    prompts: Annotated[Path, typer.Argument(help="JSONL file of prompts, such as those of `spar train evolve`")],
    model: Annotated[str, typer.Option(help="Name of the strong model at the URL, or without a URL its folder")],
    out: Annotated[Path, typer.Option(help="Folder of the conversations; an unfinished run in it is resumed")],
    url: Annotated[
        list[str] | None, typer.Option(help="OpenAI-compatible URL, ending in /v1; repeat it for each server")
    ] = None,
    draft_model: Annotated[
        str | None, typer.Option(help="Model whose answers are judged and refined (default: the strong model)")
    ] = None,
    draft_url: Annotated[
        list[str] | None, typer.Option(help="URL of the drafting model; without one --draft-model is a folder")
    ] = None,
    drafts: Annotated[int, typer.Option(min=1, help="Number of answers of the drafting model per prompt")] = 1,
    api_key_env: Annotated[str, typer.Option(help="Environment variable with the API key")] = "OPENAI_API_KEY",
    templates: Annotated[str, typer.Option(help="Prompt template set that the pair will be served with")] = "default",
    balance: Annotated[
        float | None, typer.Option(min=1, help="Maximum ratio of the more frequent verdict to the other")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed")] = 0,
    answer_tokens: Annotated[
        int, typer.Option(min=1, help="Maximum length of an answer or judgement in tokens")
    ] = 2048,
    refine_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of a refinement in tokens")] = 3072,
    in_flight: Annotated[int, typer.Option(min=1, help="Maximum number of concurrent calls")] = 64,
    answer_timeout: Annotated[
        float | None, typer.Option(min=1, help="Seconds that a server may take for an answer (default 240)")
    ] = None,
) -> None:
    """Have a strong model write the first fine-tuning data: answers, judgements and refinements."""
    from spar_core.types import Sampling
    from spar_training.distill.command import ModelLocation, run
    from spar_training.distill.settings import DistillSettings

    settings = DistillSettings(
        prompts=prompts,
        out=out,
        templates=templates,
        seed=seed,
        drafts=drafts,
        balance=balance,
        answering=Sampling(temperature=0.9, top_p=0.9, max_tokens=answer_tokens),
        judging=Sampling(temperature=0.7, max_tokens=answer_tokens),
        refining=Sampling(temperature=0.7, max_tokens=refine_tokens),
    )
    drafter = ModelLocation(draft_model, draft_url or ()) if draft_model else None
    teacher = ModelLocation(model, url or ())
    run(settings, teacher=teacher, drafter=drafter, key_env=api_key_env, in_flight=in_flight, answer_s=answer_timeout)


@app.command()
def model(
    job: Annotated[Path, typer.Argument(help="JSON file of a training job (docs/trainers.md)")],
    launcher: Annotated[
        str | None, typer.Option(help="Launcher, such as 'accelerate launch --config_file FILE -m' (default: Python)")
    ] = None,
) -> None:
    """Train one model by DPO or SFT, or resume an unfinished training."""
    import shlex

    from spar_training.storage.extras import require
    from spar_training.trainers.job import load_job
    from spar_training.trainers.launch import train

    require("training")

    def on_progress(row: dict[str, object]) -> None:
        if "loss" in row:
            typer.echo(f"step {row['step']} of {row['total']}: loss {row['loss']:.4f}")

    made = train(load_job(job), on_progress=on_progress, launcher=shlex.split(launcher) if launcher else None)
    typer.echo(f"The model is in {made}.")


@app.command()
def adapter(
    base: Annotated[Path, typer.Argument(help="Folder of the base model")],
    model: Annotated[Path, typer.Argument(help="Folder of a model that was trained from it")],
    out: Annotated[Path, typer.Option(help="Folder for the adapter")],
    rank: Annotated[int, typer.Option(min=1, help="Rank of the adapter: higher is more exact and larger")] = 16,
) -> None:
    """Extract the difference between a trained model and its base as a LoRA adapter."""
    from spar_training.storage.extras import require

    require("training")
    from spar_training.trainers.extraction import extract_adapter

    held = extract_adapter(base, model, out, rank=rank)
    typer.echo(f"The adapter is in {out}; rank {rank} captures {held:.1%} of the squared difference.")


@app.command()
def merge(
    adapter: Annotated[Path, typer.Argument(help="Folder of a LoRA adapter, such as one of `spar train adapter`")],
    out: Annotated[Path, typer.Option(help="Folder for the whole model")],
    base: Annotated[
        str | None, typer.Option(help="Folder, GGUF file or name of its base (default: as the adapter names it)")
    ] = None,
) -> None:
    """Merge an adapter into its base, for a training or a run of self-play to start from."""
    from spar_training.storage.extras import require

    require("training")
    from spar_training.trainers.merging import merge_adapter

    typer.echo(f"The model is in {merge_adapter(adapter, out, base=base)}.")


@app.command()
def export(
    job: Annotated[Path, typer.Argument(help="JSON file of a training job (docs/trainers.md)")],
    out: Annotated[Path, typer.Option(help="Folder for the data and settings")],
    format: Annotated[str, typer.Option(help="llama-factory or trl")] = "llama-factory",
    template: Annotated[
        str | None, typer.Option(help="LLaMA-Factory's chat template (default: the tokenizer's)")
    ] = None,
) -> None:
    """Export a training job's data and settings for another trainer."""
    from spar_core.errors import ConfigError
    from spar_training.trainers.job import load_job
    from spar_training.trainers.llama_factory import Format
    from spar_training.trainers.llama_factory import export as write

    if format in ("llama-factory", "trl"):
        write(load_job(job), out, form=cast(Format, format), template=template)
        typer.echo(f"The data is in {out}.")
    else:
        raise ConfigError(f"--format {format}: must be llama-factory or trl")


@app.command()
def status(folder: Annotated[Path, typer.Argument(help="Folder of a self-play run")]) -> None:
    """Show a run's progress: its steps, their counts and durations."""
    show(folder)


@app.command()
def show(
    path: Annotated[Path, typer.Argument(help="Folder of a self-play run, of a pair or of a model")],
    check: Annotated[
        bool, typer.Option("--check", help="Check weights and data against their recorded hashes")
    ] = False,
) -> None:
    """Show a run's figures by iteration, or the lineage of a model."""
    from spar_training.commands.show import show as draw

    draw(path, check=check)


@app.command()
def ship(
    folder: Annotated[Path, typer.Argument(help="Folder of a self-play run")],
    out: Annotated[Path, typer.Option(help="Folder for the pair: actor/, refiner/ and pair.json")],
    iteration: Annotated[int | None, typer.Option(min=1, help="Number of the iteration (default: the last)")] = None,
) -> None:
    """Write the pair of an iteration as a folder to serve or publish: weights, model cards, lineage and logs."""
    from spar_training.commands.ship import ship as write

    write(folder, out, iteration=iteration)
    typer.echo(f"The pair is in {out}; serve it with: spar serve --pair {out}")


@app.command()
def size(
    recipe: Annotated[
        str, typer.Option(help="Name of a shipped recipe, a YAML file, or the folder of a run")
    ] = "llama-3-8b",
    set: Annotated[
        list[str] | None, typer.Option(help="Change a recipe key: KEY=VALUE, e.g. resources.gpus=16; may be repeated")
    ] = None,
    measured: Annotated[Path | None, typer.Option(help="Folder of a run whose counts to use (default none)")] = None,
    prompt_tokens: Annotated[float, typer.Option(min=1, help="Mean length of a prompt in tokens")] = 49,
    answer_tokens: Annotated[float, typer.Option(min=1, help="Mean length of an answer in tokens")] = 460,
) -> None:
    """Estimate the cost of an iteration in calls, tokens and GPU-hours."""
    from spar_training.commands.size import page
    from spar_training.runs.recipe import load_recipe

    chosen = load_recipe(recipe, set or ())
    typer.echo(page(chosen, measured, prompt_tokens=prompt_tokens, answer_tokens=answer_tokens))
