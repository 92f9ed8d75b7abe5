"""`spar traces export`: a server's stored searches as training data, by the rules of self-play."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Final, Literal

from spar_core.errors import ConfigError, DataError
from spar_core.prompts import Templates, load_templates
from spar_training.data.preference_pairs import refined_pairs
from spar_training.data.refiner_rows import refiner_conversations
from spar_training.data.stored_traces import TracedSearch, read_trace
from spar_training.runs.recipe import RefinerData
from spar_training.storage.files import Row, write_rows

Format = Literal["dpo", "rft"]
# What a row's provenance says of its trace.
_ORIGIN: Final = ("id", "created", "key", "model", "templates", "weights", "feedback")
_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Exported:
    """The rows of an export, and how many traces or rows were left out by reason."""

    rows: list[Row]
    traces: int
    left_out: Counter[str]


def export(
    traces: Iterator[Mapping[str, Any]], *, form: Format, templates: str | None = None, seed: int = 0
) -> Exported:
    """Training rows from stored traces.

    `templates` is the set that the refiner will be trained and served with; by default that of each trace.
    """
    found: list[tuple[Mapping[str, Any], TracedSearch]] = []
    left_out: Counter[str] = Counter()
    sets: dict[str, Templates] = {}
    count = 0
    for trace in traces:
        count += 1
        if reason := _unfit(trace, form):
            left_out[reason] += 1
            continue
        name = templates or str(trace["templates"])
        try:
            found += [(trace, search) for search in read_trace(trace, _load(sets, name))]
        except ValueError as error:
            left_out[str(error)] += 1
    origins = {search.judged.id: trace for trace, search in found}
    searches = [search for _, search in found]
    rows, more = _pairs(searches) if form == "dpo" else _conversations(searches, sets, origins, templates, seed)
    return Exported([_with_origin(row, origins) for row in rows], count, left_out + more)


def _unfit(trace: Mapping[str, Any], form: Format) -> str | None:
    """Why a whole trace is left out."""
    scores = [each["score"] for each in trace.get("feedback", ())]
    if scores and mean(scores) < 0:
        return "feedback below 0"
    if form == "rft" and trace.get("judge") != "holistic":
        return "judged by a checklist"
    if form == "rft" and trace.get("bare"):
        return "refined in a format"
    return None


def _load(sets: dict[str, Templates], name: str) -> Templates:
    if name not in sets:
        sets[name] = load_templates(name)
    return sets[name]


def _pairs(searches: Sequence[TracedSearch]) -> tuple[list[Row], Counter[str]]:
    """A pair from each accepted refinement; the same pair once, however often it was asked for."""
    rows, left_out, seen = [], Counter[str](), set[str]()
    for row in refined_pairs([each for search in searches for each in search.searches]):
        text = json.dumps([row["prompt"], row["chosen"], row["rejected"]])
        if text in seen:
            left_out["repeated pair"] += 1
        else:
            seen.add(text)
            rows.append(row)
    return rows, left_out


def _conversations(
    searches: Sequence[TracedSearch],
    sets: Mapping[str, Templates],
    origins: Mapping[str, Mapping[str, Any]],
    templates: str | None,
    seed: int,
) -> tuple[list[Row], Counter[str]]:
    rows: list[Row] = []
    left_out: Counter[str] = Counter()
    for name, used in sets.items():
        own = [each for each in searches if (templates or str(origins[each.judged.id]["templates"])) == name]
        some, more = refiner_conversations(
            [search.judged for search in own],
            [each for search in own for each in search.searches],
            templates=used,
            caps=RefinerData().caps(),
            seed=seed,
        )
        rows += some
        left_out += more
    return rows, left_out


def _with_origin(row: Row, origins: Mapping[str, Mapping[str, Any]]) -> Row:
    """The row with its trace in the provenance. Its id starts with that of its search, `TRACE/NUMBER`."""
    trace = origins["/".join(row["id"].split("/")[:2])]
    origin = {name: trace.get(name) for name in _ORIGIN}
    return {**row, "provenance": {**row.get("provenance", {}), "trace": origin}}


def read_traces(url: str, query: Mapping[str, str], api_key: str | None) -> Iterator[dict[str, Any]]:
    """All traces of a server that the key may read and the query selects, newest first.

    Raises:
        ConfigError: the URL, the key or a filter is wrong.
        DataError: the server cannot be reached, or its store cannot be read.
    """
    base = url.rstrip("/").removesuffix("/v1")
    if not base.startswith(("http://", "https://")):
        raise ConfigError(f"--url {url}: must be an address such as http://127.0.0.1:8000")
    cursor: str | None = None
    while True:
        selected = {**query, "detail": "full", "limit": "100", **({"cursor": cursor} if cursor else {})}
        page = _get(f"{base}/v1/traces?{urllib.parse.urlencode(selected)}", api_key)
        yield from page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _get(url: str, api_key: str | None) -> Any:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        message = _message(error.read(10_000))
        raise (DataError if error.code >= 500 else ConfigError)(f"the server refused: {message}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{url.partition('?')[0]}: cannot be read ({error})") from error


def _message(body: bytes) -> str:
    try:
        text = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        text = body[:200].decode(errors="replace")
    return "".join(each for each in text if each.isprintable())


def run(
    *, url: str, api_key: str | None, query: Mapping[str, str], form: Format, out: Path, templates: str | None
) -> str:
    """Export to `out`; what was written and what was left out, in words."""
    exported = export(read_traces(url, query, api_key), form=form, templates=templates)
    write_rows(out, exported.rows)
    lines = [f"{len(exported.rows)} rows from {exported.traces} traces are in {out}."]
    lines += [f"left out: {count} ({reason})" for reason, count in sorted(exported.left_out.items())]
    return "\n".join(lines)
