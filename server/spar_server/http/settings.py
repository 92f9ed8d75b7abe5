"""Settings of the transport: how much of the server a connection may hold and for how long, and who may see what."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ConnectionLimits(BaseModel):
    """Limits of connections and request heads; they hold before a key is known. Times are in seconds.

    Behind a reverse proxy all connections have the proxy's address: raise `max_per_address` to `max_connections`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_connections: int = Field(default=4096, ge=1)
    max_per_address: int = Field(default=512, ge=1, description="of one IPv4 address or IPv6 /64 network")
    max_head_bytes: int = Field(default=64 * 2**10, ge=1024, description="request line and headers together")
    max_header_fields: int = Field(default=200, ge=1)
    max_pipelined: int = Field(default=8, ge=0, description="requests that wait for the one before them to be answered")
    head_s: float = Field(default=10.0, gt=0, description="for a request's head, from the connection's start")
    body_s: float = Field(default=20.0, gt=0, description="of silence in a request's body")
    idle_s: float = Field(default=20.0, gt=0, description="between two requests")
    send_s: float = Field(default=20.0, gt=0, description="in which a client takes none of what it is sent")


class MetricsSettings(BaseModel):
    """Where /metrics is answered, and to whom. By default on the server's own port, to everyone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int | None = Field(default=None, ge=1, le=65535, description="a port of its own, which answers nothing else")
    host: str | None = Field(default=None, description="address of that port; the server's own by default")
    key_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$", description="hash of a key; `spar keys new`")
