"""The commands as typer sees them. `spar` finds them by entry points, `spar-client` has them on its own.

Exit codes: 0 answered; 1 no answer, because the server cannot be reached, failed or refused; 2 wrong options, address
or key; 130 Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[str, typer.Option(envvar="SPAR_URL", help="URL of the server")]
ApiKey = Annotated[
    str | None, typer.Option(envvar=["SPAR_API_KEY", "OPENAI_API_KEY"], help="API key, if the server needs one")
]
Budget = Annotated[int, typer.Option("--budget", "-b", min=0, help="Refinement budget of each answer")]
Model = Annotated[str | None, typer.Option(help="Model name (default the first one of the server)")]

LOCAL = "http://127.0.0.1:8000"


def chat(
    url: Url = LOCAL,
    budget: Budget = 8,
    once: Annotated[str | None, typer.Option(help="Ask this one question and exit")] = None,
    model: Model = None,
    seed: Annotated[int | None, typer.Option(help="Random seed for every question")] = None,
    api_key: ApiKey = None,
) -> None:
    """Chat with a server: watch the draft, critiques and refinements, then see what changed in the answer.

    Text on stdin is one question: `echo "..." | spar chat -b 8` writes only the answer to stdout.
    """
    with _reported(url):
        from spar_client.cli.chat import run
        from spar_client.client import Client

        with Client(url, api_key=api_key) as client:
            run(client=client, budget=budget, once=once, model=model, seed=seed)


def batch(
    source: Annotated[
        Path, typer.Argument(help="OpenAI batch requests, one a line", exists=True, dir_okay=False, readable=True)
    ],
    output: Annotated[Path, typer.Argument(help="Results, one a line as they arrive", dir_okay=False, writable=True)],
    budget: Annotated[
        int | None, typer.Option("--budget", "-b", min=0, help="Refinement budget of lines that set none")
    ] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", min=1, help="Requests at a time")] = 8,
    url: Url = LOCAL,
    model: Annotated[
        str | None, typer.Option(help="Model of lines that name none (default the server's first)")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for one answer")] = 600.0,
    api_key: ApiKey = None,
) -> None:
    """Run a file of requests in OpenAI's batch format, concurrently. Run it again to continue after an interruption.

    Exit code 1 says that lines failed. Failures that may pass (5xx, 429, time-outs) are tried again by the next run.
    """
    with _reported(url, remedy="; run it again to continue"):
        from spar_client.cli.batch import run

        complete = run(
            source=source,
            output=output,
            url=url,
            api_key=api_key,
            model=model,
            budget=budget,
            concurrency=concurrency,
            timeout=timeout,
        )
    if not complete:
        raise typer.Exit(1)


@contextmanager
def _reported(url: str, *, remedy: str = "") -> Iterator[None]:
    """Turn errors into one line on stderr and an exit code; `remedy` ends those of an interruption."""
    from spar_client.errors import AuthenticationError, ClientError, PermissionDeniedError

    try:
        yield
    except (AuthenticationError, PermissionDeniedError) as error:
        _fail(f"{url}: {error}; give --api-key, or set SPAR_API_KEY", 2)
    except ValueError as error:
        _fail(str(error), 2)
    except ClientError as error:
        _fail(f"{error}{remedy}", 1)
    except OSError as error:
        _fail(f"{error.filename or 'the output'}: {error.strerror}{remedy}", 1)
    except KeyboardInterrupt:
        _fail(f"stopped{remedy}", 130)


def _fail(message: str, code: int) -> None:
    from spar_client.cli.screen import printable

    typer.secho(f"spar: {printable(message)}", fg="red", err=True)
    raise typer.Exit(code)


app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Chat with a SPaR Server, or run a file of requests."
)
app.command()(chat)
app.command()(batch)


def main() -> None:
    """Run `spar-client`."""
    app()
