"""The table of open connections: limits their number and closes overdue ones."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from typing import Final, Protocol

from spar_server.settings import ConnectionLimits

# All incomplete heads and pipelines together can use as much memory as this many heads of the maximum size.
_MAX_HEADS: Final = 256
# The most bytes of answers that wait in this process for clients that do not read them, with what each request holds
# that waits to write more: of a file the next 64 KB. An answer of more than `_LARGE_ANSWER` does not count: only
# requests with a key have such, and limits of their own.
_MAX_UNREAD: Final = 24 * 2**20
_STALLED_BYTES: Final = 96 * 2**10
_LARGE_ANSWER: Final = 2**20


class Connection(Protocol):
    """The table's view of a connection."""

    address: str
    waiting_since: float | None
    """Since when the client has been idle, by `time.monotonic`; None while one of its requests is being answered."""

    def expire(self, now: float) -> None:
        """Close the connection if one of its timeouts has expired."""

    def abort(self) -> None:
        """Drop the connection at once."""


class ConnectionTable:
    """Counts connections and checks each of them periodically, at no cost to requests.

    If the table or an address's share is full, the connection that has been idle longest is dropped, so that idle and
    half-sent connections cannot lock out working clients.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._open: set[Connection] = set()
        self._per_address: Counter[str] = Counter()
        self._buffered: dict[Connection, int] = {}
        self._total_buffered = 0
        # In the order in which they stalled.
        self._unread: dict[Connection, int] = {}
        self._total_unread = 0
        self._every_s = min(1.0, min(limits.head_s, limits.body_s, limits.idle_s, limits.send_s) / 4)
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection) -> bool:
        """Add a new connection; return False if there is no room."""
        if self._per_address[connection.address] >= self._limits.max_per_address:
            if not self._evict(connection.address):
                return False
        elif len(self._open) >= self._limits.max_connections and not self._evict(None):
            return False
        self._open.add(connection)
        self._per_address[connection.address] += 1
        if self._timer is None:
            self._schedule()
        return True

    def remove(self, connection: Connection) -> None:
        """Remove a connection if it is in the table."""
        if connection not in self._open:
            return
        self._open.remove(connection)
        self._forget_buffer(connection)
        self.resume(connection)
        self._per_address[connection.address] -= 1
        if not self._per_address[connection.address]:
            del self._per_address[connection.address]

    def hold(self, connection: Connection, size: int) -> None:
        """Record how many bytes a connection buffers of requests that have not reached the application.

        If all connections together buffer too much, the ones with the largest buffers are dropped, of equals the
        oldest: a well-behaved client sends a small head, all at once.
        """
        if not size and not self._buffered:
            return
        self._forget_buffer(connection)
        if not size or connection not in self._open:
            return
        self._buffered[connection] = size
        self._total_buffered += size
        while self._total_buffered > _MAX_HEADS * self._limits.max_head_bytes:
            largest = max(self._buffered, key=self._buffered.__getitem__)
            self.remove(largest)
            largest.abort()

    def stall(self, connection: Connection, size: int) -> None:
        """Record that a client does not read `size` bytes of an answer.

        If all clients together leave too much unread, those that stalled first are dropped.
        """
        if size > _LARGE_ANSWER or connection not in self._open:
            return
        self._unread[connection] = size + _STALLED_BYTES
        self._total_unread += size + _STALLED_BYTES
        while self._total_unread > _MAX_UNREAD:
            longest = next(iter(self._unread))
            self.remove(longest)
            longest.abort()

    def resume(self, connection: Connection) -> None:
        """Record that a client has read what it left."""
        self._total_unread -= self._unread.pop(connection, 0)

    def _forget_buffer(self, connection: Connection) -> None:
        self._total_buffered -= self._buffered.pop(connection, 0)

    def _evict(self, address: str | None) -> bool:
        waiting = [
            (connection.waiting_since, id(connection), connection)
            for connection in self._open
            if connection.waiting_since is not None and address in (None, connection.address)
        ]
        if not waiting:
            return False
        *_, longest = min(waiting)
        self.remove(longest)
        longest.abort()
        return True

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for connection in list(self._open):
            connection.expire(now)
        if self._open:
            self._schedule()


def network_of(host: str) -> str:
    """The network that one client can easily own: an IPv4 address, or an IPv6 /64 network."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False).network_address)
