"""The input file of a batch: its lines, and what is wrong with them.

{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "pair", "messages": [...]}}
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from spar_core.errors import RequestError
from spar_server.batches.store import BatchLine
from spar_server.errors import ApiError
from spar_server.http.json_limits import check_work
from spar_server.http.json_route import read_json

# Lines in a batch's `errors`; further ones are not read.
MAX_ERRORS: Final = 20
# A database may refuse the others.
_CUSTOM_ID: Final = re.compile(r"[^\x00-\x1f\x7f]{1,256}")

# Raises ApiError if the batch's key cannot use the model of this name.
CheckModel = Callable[[str], Any]


class LineError(Exception):
    """What is wrong with a line, as one of the `data` of a batch's `errors`. After `is_last`, none is read."""

    def __init__(
        self, number: int, message: str, *, param: str | None = None, code: str = "invalid_line", is_last: bool = False
    ) -> None:
        super().__init__(message)
        self.is_last = is_last
        self.data = {"code": code, "line": number, "message": f"line {number}: {message}", "param": param}


class InputReader:
    """Reads and checks the lines of one batch, whose custom ids must differ. Blank lines are skipped.

    reader.feed(piece) -> list[BatchLine]       # for each piece of the file; reader.close() returns the last line
    reader.errors                               # what is wrong; at `is_full` it reads no more
    """

    def __init__(
        self, endpoint: str, *, check_model: CheckModel, max_lines: int, max_bytes: int, max_values: int
    ) -> None:
        self.errors: list[dict[str, Any]] = []
        self.is_full = False
        self._endpoint = endpoint
        self._check_model = check_model
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._max_values = max_values
        self._numbers: dict[str, int] = {}
        self._rest = bytearray()
        self._start = self._number = 0

    def feed(self, piece: bytes) -> list[BatchLine]:
        """The requests that end in this piece. It takes a while, so it is not for the event loop."""
        found: list[BatchLine] = []
        # Only what is new can contain the end of a line.
        *ends, last = piece.split(b"\n")
        for end in ends:
            self._rest += end
            found += self._end_line()
            if self.is_full:
                return found
        self._rest += last
        if len(self._rest) > self._max_bytes:
            found += self._end_line()
        return found

    def close(self) -> list[BatchLine]:
        """The request of a last line without a line break."""
        return self._end_line()

    def _end_line(self) -> list[BatchLine]:
        raw, start = bytes(self._rest), self._start
        self._rest.clear()
        self._start += len(raw) + 1
        self._number += 1
        if not raw.strip():
            return []
        try:
            return [self._read(self._number, start, raw)]
        except LineError as error:
            self.errors.append(error.data)
            self.is_full = error.is_last or len(self.errors) >= MAX_ERRORS
            return []

    def _read(self, number: int, start: int, raw: bytes) -> BatchLine:
        if len(raw) > self._max_bytes:
            message = f"is over {self._max_bytes} bytes, the limit of a request's body"
            raise LineError(number, message, code="line_too_long", is_last=True)
        if len(self._numbers) >= self._max_lines:
            message = f"the batch has over {self._max_lines} requests, this server's limit (batches.max_lines)"
            raise LineError(number, message, code="too_many_requests", is_last=True)
        try:
            check_work(raw, self._max_values)
            line = read_json(raw)
        except RequestError as error:
            raise LineError(number, str(error).replace("the body", "the line"), code="invalid_json") from error
        if not isinstance(line, dict):
            raise LineError(number, "must be a JSON object", code="invalid_json")
        custom_id = line.get("custom_id")
        if not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id):
            message = "custom_id: must be a string of 1 to 256 characters, none of them a control character"
            raise LineError(number, message, param="custom_id", code="invalid_custom_id")
        self._check_request(number, line)
        first = self._numbers.setdefault(custom_id, number)
        if first != number:
            message = f"custom_id: {custom_id[:80]!r} is also that of line {first}; give each line its own"
            raise LineError(number, message, param="custom_id", code="duplicate_custom_id")
        return BatchLine(number, custom_id, start, len(raw))

    def _check_request(self, number: int, line: dict[str, Any]) -> None:
        if line.get("method") != "POST":
            raise LineError(number, "method: must be POST", param="method", code="invalid_method")
        if line.get("url") != self._endpoint:
            message = f"url: must be {self._endpoint}, the batch's endpoint"
            raise LineError(number, message, param="url", code="mismatched_endpoint")
        body = line.get("body")
        if not isinstance(body, dict):
            raise LineError(number, "body: must be a JSON object", param="body", code="invalid_body")
        if body.get("stream"):
            raise LineError(number, "body.stream: a batch cannot stream; remove it", param="body.stream")
        model = body.get("model")
        if isinstance(model, str):
            try:
                self._check_model(model)
            except ApiError as error:
                code = error.code or "invalid_model"
                raise LineError(number, f"body.model: {error.message}", param="body.model", code=code) from error
