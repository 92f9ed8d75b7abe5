"""OpenTelemetry: requests as traces, metrics and scores, sent by a process beside the server's."""
