"""One model on one or several servers as one backend: concurrency limits, affinity, retries, circuit breakers."""

from spar_core.backends.pool.affinity import conversation_key
from spar_core.backends.pool.backend import PoolBackend
from spar_core.backends.pool.circuit_breaker import BreakerPolicy, BreakerState
from spar_core.backends.pool.observer import CallOutcome, PoolObserver, SilentObserver
from spar_core.backends.pool.replica import Replica
from spar_core.backends.pool.retry import RetryPolicy

__all__ = [
    "BreakerPolicy",
    "BreakerState",
    "CallOutcome",
    "PoolBackend",
    "PoolObserver",
    "Replica",
    "RetryPolicy",
    "SilentObserver",
    "conversation_key",
]
