"""The `spar` command and its subcommands."""

from __future__ import annotations

import errno
from typing import Annotated

import typer

from spar_core.errors import BackendError, SparError
from spar_server.cli import models
from spar_server.cli.command_group import CommandGroup
from spar_server.cli.traces import commands as traces

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    help="SPaR Server: an OpenAI-compatible server whose answers improve with compute.",
)
keys = typer.Typer(no_args_is_help=True, help="Manage the API keys of a server.")
app.add_typer(keys, name="keys")
app.add_typer(models.app, name="models")
app.add_typer(traces.app, name="traces")


def _print_version(requested: bool) -> None:
    if requested:
        # Imported here because it would add a third to this module's import time.
        from importlib.metadata import version

        typer.echo(f"spar {version('spar-server')}")
        raise typer.Exit


@app.callback()
def spar(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit")
    ] = False,
) -> None:
    """Options that apply to every command."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1)")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, or 0 for any free port (default 8000)")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Number of processes, for a gateway to other servers (default 1)")
    ] = None,
    pair: Annotated[
        str | None, typer.Option(help="spar-135m (default), tiny, or a folder with actor/ and refiner/")
    ] = None,
    actor_url: Annotated[
        list[str] | None,
        typer.Option(help="OpenAI-compatible URL of the actor, ending in /v1; repeat it for each replica"),
    ] = None,
    actor_model: Annotated[str | None, typer.Option(help="Model name of the actor at that URL")] = None,
    refiner_url: Annotated[
        list[str] | None, typer.Option(help="URL of the refiner; repeat it for each replica (default the actor)")
    ] = None,
    refiner_model: Annotated[str | None, typer.Option(help="Model name of the refiner at that URL")] = None,
    actor_vllm: Annotated[
        str | None, typer.Option(help="Run the actor in this process with vLLM: a folder or a Hugging Face model name")
    ] = None,
    actor_adapter: Annotated[str | None, typer.Option(help="Folder of the actor's LoRA adapter")] = None,
    refiner_vllm: Annotated[
        str | None, typer.Option(help="Run the refiner in this process with vLLM (default the actor)")
    ] = None,
    refiner_adapter: Annotated[str | None, typer.Option(help="Folder of the refiner's LoRA adapter")] = None,
    model: Annotated[str | None, typer.Option(help="Model name that clients use for the pair")] = None,
    templates: Annotated[
        str | None, typer.Option(help="Prompt template set: the name of a shipped one, or a folder")
    ] = None,
    refine_budget: Annotated[int | None, typer.Option(help="Budget of requests that set none (default 0)")] = None,
    keys_file: Annotated[str | None, typer.Option(help="TOML file with API keys; see `spar keys new`")] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Serve anyone who can reach the server, without API keys")
    ] = False,
    config: Annotated[
        str | None, typer.Option(help="TOML file with settings (default ./spar.toml if it exists)")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check settings, the pair, upstreams and the trace database, then exit")
    ] = False,
) -> None:
    """Serve a pair on this machine, or act as a gateway to OpenAI-compatible servers."""
    from spar_server.cli.serve import Flags, run

    run(
        Flags(
            host=host,
            port=port,
            workers=workers,
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


@keys.command()
def new(name: Annotated[str, typer.Argument(help="Name of the key's owner, for logs and metrics")]) -> None:
    """Create an API key. The key is shown once; only its hash is stored."""
    from spar_server.cli.keys import run

    run(name)


def _explained(error: SparError) -> str:
    """The error; that of an upstream in the upstream's words, too, because who runs a command set its key and model."""
    if not isinstance(error, BackendError):
        return str(error)
    # Imported here because most commands call no upstream.
    from spar_core.backends.openai.redact import with_upstreams_words

    return with_upstreams_words(error)


def main() -> None:
    """Run the command. Expected errors and a full disk are reported in one line instead of a traceback."""
    try:
        app()
    except SparError as error:
        typer.secho(f"spar: {_explained(error)}", fg="red", err=True)
        raise SystemExit(2) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        where = error.filename or "a file"
        typer.secho(
            f"spar: {where}: cannot be written ({error.strerror}); free some space and run again", fg="red", err=True
        )
        raise SystemExit(2) from None
