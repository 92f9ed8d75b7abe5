"""One API key as it is configured: whose it is, its hash, and what it may use."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ApiKey(BaseModel):
    """What is left out is not bounded by the key; the server's own bounds hold for everyone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w.-]{1,64}$", description="in the log and the metrics")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the key, in hexadecimal")
    refine_budget: int | None = Field(default=None, ge=0, description="of a request that names none")
    max_refine_budget: int | None = Field(default=None, ge=0)
    requests_per_minute: int | None = Field(default=None, ge=1)
    concurrent_searches: int | None = Field(
        default=None, ge=1, description="requests of more than one model call, running and waiting"
    )
    concurrent_calls: int | None = Field(default=None, ge=1, description="model calls at once of each role; more wait")
    max_n: int | None = Field(default=None, ge=1, description="answers of one request")
    max_votes: int | None = Field(default=None, ge=1, description="judgements of one answer")
    max_prompts: int | None = Field(default=None, ge=1, description="of one completions request")
    max_calls: int | None = Field(default=None, ge=1, description="model calls that one request can make")
    models: tuple[str, ...] | None = None
    weight: float = Field(default=1.0, gt=0, le=1000, description="of its turn where requests have to wait")

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models
