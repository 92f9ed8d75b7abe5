"""One model on one or many servers, as one backend: limits, choice, retries, circuit breakers."""

from spar_core.backends.pool.affinity import conversation_key
from spar_core.backends.pool.backend import PoolBackend
from spar_core.backends.pool.observer import PoolObserver, SilentObserver
from spar_core.backends.pool.retrying import RetryPolicy

__all__ = ["PoolBackend", "PoolObserver", "RetryPolicy", "SilentObserver", "conversation_key"]
