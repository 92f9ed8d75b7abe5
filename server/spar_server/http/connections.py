"""All open connections: how many there may be, and the end of those that are overdue."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from typing import Final, Protocol

from spar_server.settings import ConnectionLimits

# All heads and pipelines that are not whole yet may together hold as much as so many of the largest heads.
_LARGEST_HEADS: Final = 256


class Connection(Protocol):
    """What the table needs to know of a connection."""

    address: str
    waiting_since: float | None
    """On the loop's clock; None while the server has a request of it to answer."""

    def expire(self, now: float) -> None:
        """Close the connection if one of its times has passed."""

    def abort(self) -> None:
        """Drop the connection at once."""


class ConnectionTable:
    """Counts connections, and looks at each of them now and then, which costs a request nothing.

    A full table, or an address that has its share, drops the connection that has waited longest with nothing to
    answer, so that idle and half-sent connections cannot keep working clients out.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._open: set[Connection] = set()
        self._per_address: Counter[str] = Counter()
        self._held: dict[Connection, int] = {}
        self._held_in_all = 0
        self._every_s = min(1.0, min(limits.head_s, limits.body_s, limits.idle_s, limits.send_s) / 4)
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection) -> bool:
        """Take a new connection in; False when there is no room."""
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
        """Forget a connection; does nothing when it is not in the table."""
        if connection not in self._open:
            return
        self._open.remove(connection)
        self._let_go(connection)
        self._per_address[connection.address] -= 1
        if not self._per_address[connection.address]:
            del self._per_address[connection.address]

    def hold(self, connection: Connection, size: int) -> None:
        """Note the bytes that a connection holds of requests that the application does not have yet.

        When all connections together hold too much, those that hold most are dropped, among equals the oldest: a
        client that means well has a small head, and sends it at once.
        """
        self._let_go(connection)
        if not size or connection not in self._open:
            return
        self._held[connection] = size
        self._held_in_all += size
        while self._held_in_all > _LARGEST_HEADS * self._limits.max_head_bytes:
            largest = max(self._held, key=self._held.__getitem__)
            self.remove(largest)
            largest.abort()

    def _let_go(self, connection: Connection) -> None:
        self._held_in_all -= self._held.pop(connection, 0)

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
    """What one client can easily have all of: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False).network_address)
