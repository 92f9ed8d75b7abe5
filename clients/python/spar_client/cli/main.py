"""The commands as typer sees them. `spar` finds them by entry points, `spar-client` has them on its own.

Exit codes: 0 answered; 1 no answer, because the server cannot be reached, failed or refused; 2 wrong options, address
or key; 130 Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from spar_client.client import Client

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
    with _connected(url, api_key) as client:
        from spar_client.cli.chat import run

        run(client=client, budget=budget, once=once, model=model, seed=seed)


@contextmanager
def _connected(url: str, api_key: str | None, *, max_retries: int = 2) -> Iterator[Client]:
    """A client; its errors become one line on stderr and an exit code."""
    from spar_client.client import Client
    from spar_client.errors import AuthenticationError, ClientError, PermissionDeniedError

    try:
        with Client(url, api_key=api_key, max_retries=max_retries) as client:
            yield client
    except (AuthenticationError, PermissionDeniedError) as error:
        _fail(f"{url}: {error}; give --api-key, or set SPAR_API_KEY", 2)
    except ValueError as error:
        _fail(str(error), 2)
    except ClientError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("stopped", 130)


def _fail(message: str, code: int) -> None:
    from spar_client.cli.screen import printable

    typer.secho(f"spar: {printable(message)}", fg="red", err=True)
    raise typer.Exit(code)


app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Chat with a SPaR Server, or run a file of requests."
)
app.command()(chat)


def main() -> None:
    """Run `spar-client`."""
    app()
