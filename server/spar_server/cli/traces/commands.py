"""`spar traces`: its commands. Further ones come from packages by the entry points `spar.traces.commands`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

import typer

from spar_core.plugins import Registry
from spar_server.cli.command_group import CommandGroup

_TRAINING: Final = "the training package, which is not installed: pip install 'spar-server[training]'"


class TraceCommands(CommandGroup):
    command: ClassVar[str] = "spar traces"
    registry: ClassVar[Registry[Any]] = Registry("spar.traces.commands", {}, kind="command")
    missing: ClassVar[Mapping[str, str]] = {"export": _TRAINING}


app = typer.Typer(
    cls=TraceCommands, no_args_is_help=True, help="List, show, replay and export a server's stored searches."
)

Url = Annotated[str, typer.Option(help="URL of the server")]
ApiKey = Annotated[str | None, typer.Option(envvar="OPENAI_API_KEY", help="API key, if the server needs one")]
Id = Annotated[str, typer.Argument(help="Id of a trace, or of a response")]
DEFAULT_URL: Final = "http://127.0.0.1:8000"


@app.command("list")
def list_traces(
    url: Url = DEFAULT_URL,
    key: Annotated[str | None, typer.Option(help="Name of an API key")] = None,
    model: Annotated[str | None, typer.Option(help="Model name")] = None,
    since: Annotated[str | None, typer.Option(help="First time: ISO 8601, or an age such as 12h or 7d")] = None,
    until: Annotated[str | None, typer.Option(help="Last time, written like --since")] = None,
    stop_reason: Annotated[str | None, typer.Option(help="Why the search ended, e.g. refined_accepted")] = None,
    improved: Annotated[
        bool | None, typer.Option("--improved/--not-improved", help="Whether the answer replaced the draft")
    ] = None,
    budget: Annotated[int | None, typer.Option(min=0, help="Refinement budget")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of traces")] = 20,
    api_key: ApiKey = None,
) -> None:
    """List traces, newest first."""
    from spar_server.cli.traces.client import TraceClient, read_moment
    from spar_server.cli.traces.drawing import print_list

    filters = {
        "key": key,
        "model": model,
        "since": since and read_moment("--since", since),
        "until": until and read_moment("--until", until),
        "stop_reason": stop_reason,
        "improved": None if improved is None else str(improved).lower(),
        "budget": budget,
    }
    print_list(TraceClient(url, api_key).list(filters, limit=limit))


@app.command()
def show(
    id: Id,
    url: Url = DEFAULT_URL,
    full: Annotated[bool, typer.Option("--full", help="Show the text of every node, and critiques in full")] = False,
    api_key: ApiKey = None,
) -> None:
    """Draw a search: its nodes with their votes and critiques, and what changed from draft to answer."""
    from spar_server.cli.traces.client import TraceClient
    from spar_server.cli.traces.drawing import print_trace

    print_trace(TraceClient(url, api_key).get(id), full=full)


@app.command()
def replay(
    id: Id,
    url: Url = DEFAULT_URL,
    to: Annotated[str | None, typer.Option(help="URL of the server that runs it again (default the same)")] = None,
    model: Annotated[str | None, typer.Option(help="Model to run it on (default the trace's)")] = None,
    api_key: ApiKey = None,
    to_api_key: Annotated[
        str | None, typer.Option(envvar="SPAR_TO_API_KEY", help="API key for --to (default --api-key)")
    ] = None,
) -> None:
    """Run a search again and report where it differs from its trace; the exit status is then 1."""
    from spar_server.cli.traces.client import TraceClient
    from spar_server.cli.traces.replay import print_replay, replay_of

    trace = TraceClient(url, api_key).get(id)
    runner = TraceClient(to or url, to_api_key or api_key)
    path, body = replay_of(trace, model=model)
    if not print_replay(trace, runner.post(path, body)):
        sys.exit(1)
