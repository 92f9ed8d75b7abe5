"""Every name that telemetry sends: attributes, events and metrics, and the two versions of the conventions.

`gen_ai.*` are OpenTelemetry's semantic conventions for generative AI, `openinference.*` and `graph.*` what Phoenix
draws trees by, `langfuse.*` what Langfuse tells kinds of steps apart by, and `spar.*` this server's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from spar_server.settings import Conventions

# Operations.
CHAT: Final = "chat"
TEXT_COMPLETION: Final = "text_completion"
EMBEDDINGS: Final = "embeddings"
INVOKE_WORKFLOW: Final = "invoke_workflow"

# Model calls and searches.
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_TOP_P: Final = "gen_ai.request.top_p"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_SEED: Final = "gen_ai.request.seed"
REQUEST_STOP: Final = "gen_ai.request.stop_sequences"
REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
REQUEST_CHOICES: Final = "gen_ai.request.choice.count"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
USAGE_INPUT: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOKEN_MODALITY: Final = "gen_ai.token.modality"
TOKEN_TYPE: Final = "gen_ai.token.type"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# Verdicts.
EVALUATION_EVENT: Final = "gen_ai.evaluation.result"
EVALUATION_NAME: Final = "gen_ai.evaluation.name"
EVALUATION_VALUE: Final = "gen_ai.evaluation.score.value"
EVALUATION_LABEL: Final = "gen_ai.evaluation.score.label"
EVALUATION_EXPLANATION: Final = "gen_ai.evaluation.explanation"

# What Phoenix draws a search by.
SPAN_KIND: Final = "openinference.span.kind"
INPUT_VALUE: Final = "input.value"
OUTPUT_VALUE: Final = "output.value"
GRAPH_NODE_ID: Final = "graph.node.id"
GRAPH_NODE_NAME: Final = "graph.node.name"
GRAPH_NODE_PARENT: Final = "graph.node.parent_id"

LANGFUSE_TYPE: Final = "langfuse.observation.type"

# This server's own.
SPAR_TRACE_ID: Final = "spar.trace_id"
SPAR_REQUEST_ID: Final = "spar.request_id"
SPAR_KEY: Final = "spar.key"
SPAR_BUDGET: Final = "spar.budget"
SPAR_ALGORITHM: Final = "spar.algorithm"
SPAR_JUDGE: Final = "spar.judge"
SPAR_NODES: Final = "spar.nodes"
SPAR_DEPTH: Final = "spar.depth"
SPAR_STOP_REASON: Final = "spar.stop_reason"
SPAR_IMPROVED: Final = "spar.improved"
SPAR_DEGRADED: Final = "spar.degraded"
SPAR_VALUE: Final = "spar.value"
SPAR_DRAFT_VALUE: Final = "spar.draft_value"
SPAR_ROLE: Final = "spar.role"
SPAR_CHOICE: Final = "spar.choice"
SPAR_NODE: Final = "spar.node.path"
SPAR_NODE_OUTCOME: Final = "spar.node.outcome"
SPAR_ACCEPTED: Final = "spar.accepted"
SPAR_VOTES: Final = "spar.votes"
SPAR_CANCELLED: Final = "spar.cancelled"

# Metrics that both versions have.
SERVER_DURATION: Final = "gen_ai.server.request.duration"
SERVER_FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"

SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS: Final = tuple(4.0**power for power in range(14))


@dataclass(frozen=True, slots=True)
class VersionNames:
    """The names that differ between the versions.

    `usage` has the four counters of tokens (input, output, cache read, reasoning); None where one histogram,
    `token_usage`, counts input and output.
    """

    schema_url: str
    workflow_name: str
    client_duration: str
    client_first_chunk: str
    usage: tuple[str, str, str, str] | None
    token_usage: str | None


VERSIONS: Final[dict[Conventions, VersionNames]] = {
    # The first release of semantic-conventions-genai.
    "v0.1": VersionNames(
        schema_url="",
        workflow_name="gen_ai.agent.name",
        client_duration="gen_ai.client.inference.duration",
        client_first_chunk="gen_ai.client.inference.time_to_first_chunk",
        usage=(
            "gen_ai.client.inference.usage.input_tokens",
            "gen_ai.client.inference.usage.output_tokens",
            "gen_ai.client.inference.usage.cache_read.input_tokens",
            "gen_ai.client.inference.usage.reasoning.output_tokens",
        ),
        token_usage=None,
    ),
    # The last release that was part of OpenTelemetry's general conventions.
    "v1.41": VersionNames(
        schema_url="https://opentelemetry.io/schemas/1.41.0",
        workflow_name="gen_ai.workflow.name",
        client_duration="gen_ai.client.operation.duration",
        client_first_chunk="gen_ai.client.operation.time_to_first_chunk",
        usage=None,
        token_usage="gen_ai.client.token.usage",
    ),
}
