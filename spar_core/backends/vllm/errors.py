"""Translate vLLM's errors into this project's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from spar_core.errors import BackendError, BackendOverloaded, BackendRejected, BackendUnavailable

logger = logging.getLogger(__name__)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise every vLLM error in the context as a BackendError."""
    from vllm.exceptions import GracefulHTTPError, VLLMClientError, VLLMError

    try:
        yield
    except VLLMClientError as error:
        raise _rejected(error) from error
    except GracefulHTTPError as error:
        raise BackendOverloaded(error.message, status=int(error.http_status)) from error
    except VLLMError as error:
        logger.exception("vLLM failed")
        raise BackendUnavailable(f"vLLM failed ({type(error).__name__})") from error
    except (TypeError, ValueError) as error:
        # vLLM's parameter classes raise these for invalid values.
        raise _rejected(error) from error


def _rejected(error: Exception) -> BackendError:
    parameter = getattr(error, "parameter", None)
    message = str(error.args[0]) if error.args else type(error).__name__
    return BackendRejected(message, status=400, param=parameter if isinstance(parameter, str) else None)
