"""Forms with a file (`multipart/form-data`), read as they arrive: nothing holds a whole file.

async for part in read_form(request.headers.get("content-type", ""), request.stream()):
    if part.is_file: await writer.write(part.data)
    else: fields[part.name] = part.data.decode()
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from spar_core.errors import RequestError
from spar_server.errors import ApiError

_MAX_PARTS: Final = 16
# Bytes of a part other than the file, and of one header of a part.
_MAX_FIELD: Final = 1024
_MAX_HEADER: Final = 2048


@dataclass(frozen=True, slots=True)
class FormPart:
    """A whole field, or the next piece of a file, which may be empty."""

    name: str
    data: bytes
    filename: str | None = None

    @property
    def is_file(self) -> bool:
        return self.filename is not None


@dataclass(slots=True)
class _Form:
    """Receives the parser's callbacks, and holds what it has read since the last `take`."""

    parts: list[FormPart] = field(default_factory=list)
    finished: bool = False
    _count: int = 0
    _header: list[bytes] = field(default_factory=lambda: [b"", b""])
    _disposition: bytes = b""
    _name: str = ""
    _filename: str | None = None
    _value: bytes = b""

    def on_part_begin(self) -> None:
        self._count += 1
        if self._count > _MAX_PARTS:
            raise RequestError(f"the form has over {_MAX_PARTS} fields")
        self._disposition, self._value = b"", b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def on_header_end(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            self._disposition = self._header[1]
        self._header = [b"", b""]

    def on_headers_finished(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise RequestError("a field of the form has no name")
        self._name = options[b"name"].decode(errors="replace")
        filename = options.get(b"filename")
        self._filename = None if filename is None else filename.decode(errors="replace")
        if self._filename is not None:
            self.parts.append(FormPart(self._name, b"", self._filename))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._filename is not None:
            self.parts.append(FormPart(self._name, data[start:end], self._filename))
            return
        if len(self._value) + end - start > _MAX_FIELD:
            name = self._name[:80]
            raise RequestError(f"{name}: is over {_MAX_FIELD} bytes; only a file can be longer", param=name)
        self._value += data[start:end]

    def on_part_end(self) -> None:
        if self._filename is None:
            self.parts.append(FormPart(self._name, self._value))

    def on_end(self) -> None:
        self.finished = True

    def take(self) -> list[FormPart]:
        parts, self.parts = self.parts, []
        return parts


async def read_form(content_type: str, body: AsyncIterator[bytes]) -> AsyncGenerator[FormPart, None]:
    """The fields of a form and the pieces of its files, in the order in which they arrive.

    Raises:
        ApiError: 415; it is another type of content.
        RequestError: the form is not valid, incomplete, or has too many or too long fields.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise ApiError(415, "Content-Type: must be multipart/form-data with a boundary", code="unsupported_media_type")
    form = _Form()
    try:
        parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": form.on_part_begin,
                "on_part_data": form.on_part_data,
                "on_part_end": form.on_part_end,
                "on_header_field": form.on_header_field,
                "on_header_value": form.on_header_value,
                "on_header_end": form.on_header_end,
                "on_headers_finished": form.on_headers_finished,
                "on_end": form.on_end,
            },
            max_header_size=_MAX_HEADER,
        )
        async for data in body:
            parser.write(data)
            for part in form.take():
                yield part
    except FormParserError as error:
        raise RequestError(f"the form is not valid: {str(error)[:200]}") from error
    if not form.finished:
        raise RequestError("the form ends before its last boundary")
