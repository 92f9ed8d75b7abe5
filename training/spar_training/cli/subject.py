"""Options of the model under evaluation, shared by the commands of `spar eval` and `spar bench`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

import typer

from spar_core.errors import ConfigError

if TYPE_CHECKING:
    from spar_training.evals.subject import Subject

ExtraBody = Annotated[str | None, typer.Option(help="JSON object whose keys are added to every request")]
InFlight = Annotated[int, typer.Option(min=1, help="Maximum number of concurrent requests")]
Seed = Annotated[int, typer.Option(help="Random seed")]

_Url = Annotated[
    list[str] | None,
    typer.Option("--url", help="OpenAI-compatible URL of the model, ending in /v1; repeat it for each server"),
]
_Model = Annotated[str, typer.Option(help="Model name at --url, or without --url a model folder")]
_OptionalModel = Annotated[str | None, typer.Option(help="Model name at --url, or without --url a model folder")]
_RefineBudget = Annotated[int | None, typer.Option(min=0, help="`refine_budget` of every request")]
_Temperature = Annotated[float, typer.Option(min=0, help="Sampling temperature")]
_MaxTokens = Annotated[int, typer.Option(min=1, help="Maximum length of an answer in tokens")]

_OPTIONS: Final[Mapping[str, tuple[Any, Any]]] = {
    "model": (_Model, inspect.Parameter.empty),
    "url": (_Url, None),
    "refine_budget": (_RefineBudget, None),
    "extra_body": (ExtraBody, None),
    "temperature": (_Temperature, 0.0),
    "max_tokens": (_MaxTokens, 2048),
    "seed": (Seed, 0),
    "in_flight": (InFlight, 16),
}


def subject_options(*, optional: bool = False, without: tuple[str, ...] = (), **defaults: Any) -> Callable[..., Any]:
    """Replace a command's parameter `subject` by the options that describe it, and pass it the `Subject` they make.

        @app.command()
        @subject_options(max_tokens=1280)
        def ifeval(subject: Subject, out: Out = Path("runs/ifeval")) -> None: ...

    Args:
        optional: `--model` may be left out too; the command then gets None if neither it nor `--url` is given.
        without: names of options that the command does not have.
        defaults: defaults of options that differ from the usual ones.
    """
    options = {name: option for name, option in _OPTIONS.items() if name not in without}
    if optional:
        options["model"] = (_OptionalModel, None)
    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name, default), annotation=annotation
        )
        for name, (annotation, default) in options.items()
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        # `Subject` itself is slow to import, so it is not there to evaluate the command's annotation with.
        hints = get_type_hints(command, localns={"Subject": Any}, include_extras=True)
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
            for parameter in inspect.signature(command).parameters.values()
            if parameter.name != "subject"
        ]
        signature = inspect.Signature([*parameters, *own], return_annotation=None)

        @wraps(command)
        def run(**arguments: Any) -> None:
            bound = signature.bind(**arguments)
            bound.apply_defaults()
            given = {name: bound.arguments[name] for name in options}
            others = {parameter.name: bound.arguments[parameter.name] for parameter in own}
            command(subject=_subject_or_none(**given), **others)

        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()} | {"return": None}
        return run

    return decorate


def _subject_or_none(*, model: str | None, url: list[str] | None, **options: Any) -> Subject | None:
    return make_subject(require_option(model, "--model"), url, **options) if model or url else None


def make_subject(
    model: str,
    url: list[str] | None,
    *,
    temperature: float,
    seed: int,
    in_flight: int,
    max_tokens: int | None = None,
    refine_budget: int | None = None,
    extra_body: str | None = None,
) -> Subject:
    """Make a `Subject` from values of the command line.

    Raises:
        ConfigError: `extra_body` is not a JSON object, a URL is not valid, or an option needs `--url`.
    """
    from spar_core.types import Sampling
    from spar_training.evals.subject import Subject

    extra = _parse_extra_body(extra_body)
    if refine_budget is not None:
        extra["refine_budget"] = refine_budget
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens, extra=extra)
    return Subject(model=model, urls=tuple(url or ()), sampling=sampling, seed=seed, in_flight=in_flight)


def _parse_extra_body(text: str | None) -> dict[str, Any]:
    try:
        extra = json.loads(text) if text else {}
    except ValueError as error:
        raise ConfigError(f"--extra-body: not JSON ({error})") from error
    if not isinstance(extra, dict):
        raise ConfigError("--extra-body: must be a JSON object")
    return extra


def require_option(value: str | None, option: str) -> str:
    """Return `value`, or raise ConfigError if the option was left out."""
    if value is None:
        raise ConfigError(f"{option} is needed")
    return value
