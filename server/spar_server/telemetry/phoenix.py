"""Scores for Phoenix, which takes no log events: each becomes an annotation of its span."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any, Final
from urllib.request import Request, urlopen

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

from spar_server.telemetry import names

logger = logging.getLogger(__name__)

_TIMEOUT_S: Final = 10.0


class PhoenixScores(LogRecordExporter):
    """Posts the verdicts among the log records to Phoenix at `url`, after `flush_spans`, which they are about."""

    def __init__(self, url: str, headers: Mapping[str, str], flush_spans: Callable[[], object]) -> None:
        self._url = f"{url.rstrip('/')}/v1/span_annotations"
        self._headers = {**headers, "Content-Type": "application/json"}
        self._flush_spans = flush_spans

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        data = [_annotation(each) for each in batch if each.log_record.event_name == names.EVALUATION_EVENT]
        self._flush_spans()
        request = Request(self._url, json.dumps({"data": data}).encode(), self._headers, method="POST")
        try:
            with urlopen(request, timeout=_TIMEOUT_S):
                return LogRecordExportResult.SUCCESS
        except (OSError, HTTPException) as error:
            logger.warning("scores cannot be sent to Phoenix (%s)", error)
            return LogRecordExportResult.FAILURE

    def shutdown(self) -> None:
        """Nothing is kept open."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def _annotation(record: ReadableLogRecord) -> dict[str, Any]:
    attributes = record.log_record.attributes or {}
    result = {
        "score": attributes.get(names.EVALUATION_VALUE),
        "label": attributes.get(names.EVALUATION_LABEL),
        "explanation": attributes.get(names.EVALUATION_EXPLANATION),
    }
    return {
        "span_id": f"{record.log_record.span_id:016x}",
        "name": attributes[names.EVALUATION_NAME],
        "annotator_kind": "LLM",
        "result": {key: value for key, value in result.items() if value is not None},
    }
