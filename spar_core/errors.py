"""All errors that this project raises on purpose.

SparError
├── ConfigError            a setting, template set or recipe is wrong; the message names the key and the fix
├── DataError              a data file is unusable; the message names the file, the line and the fix
├── TrainingError          a training ended without a model; the same job resumes from its last checkpoint
├── RequestError           the caller's request is wrong; `param` names the field
└── BackendError           a model call failed
    ├── BackendTimeout     no answer in time
    │   └── DeadlineReached    because the request's own deadline came first
    ├── BackendUnavailable cannot connect, connection lost, or 5xx
    ├── BackendOverloaded  429 or 503; `retry_after` in seconds if the upstream sent it
    ├── BackendRejected    the upstream refused the request as such (other 4xx)
    └── BackendProtocol    the upstream's answer violates its API
"""

from __future__ import annotations


class SparError(Exception):
    """Base of the tree."""


class ConfigError(SparError):
    """A setting, template set or recipe is wrong."""


class DataError(SparError):
    """A data file is unusable."""


class TrainingError(SparError):
    """A training ended without a model."""


class RequestError(SparError):
    """The caller's request is wrong. `param` is the offending field's path, e.g. `refine.branch`."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class BackendError(SparError):
    """A model call failed. `status` is the upstream's HTTP status, if there was one.

    The message reaches clients, so it never quotes the upstream. `detail` is the upstream's own text, which may contain
    keys, addresses and prompts: it only goes to the log, redacted.
    """

    def __init__(self, message: str, *, status: int | None = None, detail: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail


class BackendTimeout(BackendError):
    """No answer in time."""


class DeadlineReached(BackendTimeout):
    """The request's own deadline, or the server's shutdown, came before there was an answer."""


class BackendUnavailable(BackendError):
    """The upstream cannot be reached, dropped the connection, or answered 5xx."""


class BackendOverloaded(BackendError):
    """429 or 503. `retry_after` is in seconds, None if the upstream did not send it."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None, detail: str = ""
    ) -> None:
        super().__init__(message, status=status, detail=detail)
        self.retry_after = retry_after


class BackendRejected(BackendError):
    """The upstream refused the request as such.

    `param` is the field and `code` the reason, one of OpenAI's codes, if the upstream named them.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        param: str | None = None,
        code: str | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(message, status=status, detail=detail)
        self.param = param
        self.code = code


class BackendProtocol(BackendError):
    """The upstream's answer violates its API."""
