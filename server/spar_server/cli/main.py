"""The `spar` command and its subcommands."""

from __future__ import annotations

import errno
from typing import Annotated

import typer

from spar_core.errors import SparError
from spar_server.cli import models
from spar_server.cli.command_group import CommandGroup

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    help="SPaR Server: answers that get better the more compute a request is given.",
)
keys = typer.Typer(no_args_is_help=True, help="API keys of a server.")
app.add_typer(keys, name="keys")
app.add_typer(models.app, name="models")


def _tell_version(wanted: bool) -> None:
    if wanted:
        # A third of this module's own import time, for an option that few give.
        from importlib.metadata import version

        typer.echo(f"spar {version('spar-server')}")
        raise typer.Exit


@app.callback()
def spar(
    told: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say the version and leave")
    ] = False,
) -> None:
    """Options of every command."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1)")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, 0 for a free one (default 8000)")] = None,
    pair: Annotated[
        str | None, typer.Option(help="Folder with actor/ and refiner/; or spar-135m (the default), or tiny")
    ] = None,
    actor_url: Annotated[
        list[str] | None,
        typer.Option(help="OpenAI-compatible URL of the actor, ending in /v1; once for each of its servers"),
    ] = None,
    actor_model: Annotated[str | None, typer.Option(help="The actor's model name there")] = None,
    refiner_url: Annotated[
        list[str] | None, typer.Option(help="URL of the refiner, likewise (default the actor's)")
    ] = None,
    refiner_model: Annotated[str | None, typer.Option(help="The refiner's model name there")] = None,
    actor_vllm: Annotated[
        str | None, typer.Option(help="Run the actor in this process by vLLM: a folder, or a name at Hugging Face")
    ] = None,
    actor_adapter: Annotated[str | None, typer.Option(help="Folder of the actor's LoRA adapter")] = None,
    refiner_vllm: Annotated[str | None, typer.Option(help="The refiner, likewise (default the actor)")] = None,
    refiner_adapter: Annotated[str | None, typer.Option(help="Folder of the refiner's LoRA adapter")] = None,
    model: Annotated[str | None, typer.Option(help="Name under which the pair is served")] = None,
    templates: Annotated[str | None, typer.Option(help="Prompt templates: default, brief, compact or a folder")] = None,
    refine_budget: Annotated[int | None, typer.Option(help="Budget of requests that name none (default 0)")] = None,
    keys_file: Annotated[str | None, typer.Option(help="TOML file of API keys; see `spar keys new`")] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Serve everyone who can reach the server")] = False,
    config: Annotated[str | None, typer.Option(help="TOML file (default ./spar.toml where there is one)")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check the settings and the upstreams")] = False,
) -> None:
    """Serve the embedded pair, or front OpenAI-compatible upstreams."""
    from spar_server.cli.serve import Flags, run

    run(
        Flags(
            host=host,
            port=port,
            pair=pair,
            actor_url=actor_url,
            actor_model=actor_model,
            refiner_url=refiner_url,
            refiner_model=refiner_model,
            actor_vllm=actor_vllm,
            actor_adapter=actor_adapter,
            refiner_vllm=refiner_vllm,
            refiner_adapter=refiner_adapter,
            model=model,
            templates=templates,
            refine_budget=refine_budget,
            keys_file=keys_file,
            no_auth=no_auth,
        ),
        config,
        check=check,
    )


@app.command()
def chat(
    url: Annotated[str, typer.Option(help="The server")] = "http://127.0.0.1:8000",
    budget: Annotated[int, typer.Option(min=0, help="Refinement budget of each question")] = 8,
    once: Annotated[str | None, typer.Option(help="Ask this one question and leave")] = None,
    model: Annotated[str | None, typer.Option(help="Model name (default the server's first)")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every question")] = None,
    api_key: Annotated[str | None, typer.Option(envvar="OPENAI_API_KEY", help="API key, if needed")] = None,
) -> None:
    """Talk to a server: watch draft, critiques and refinements, then the answer with its changes."""
    from spar_server.cli.chat import run

    run(url=url, budget=budget, once=once, model=model, seed=seed, api_key=api_key)


@keys.command()
def new(name: Annotated[str, typer.Argument(help="Whose key it is; it stands in the metrics")]) -> None:
    """Make a key: it is shown this once, and only its hash is stored."""
    from spar_server.cli.keys import run

    run(name)


def main() -> None:
    """Run the command; an error of this project's own, or a full disk, is one line and not a traceback."""
    try:
        app()
    except SparError as error:
        typer.secho(f"spar: {error}", fg="red", err=True)
        raise SystemExit(2) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        where = error.filename or "a file"
        typer.secho(f"spar: {where}: cannot be written ({error.strerror}); make room and run again", fg="red", err=True)
        raise SystemExit(2) from None
