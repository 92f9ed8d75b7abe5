"""spar-client, which reads SPAR_URL and SPAR_API_KEY itself. Run by `make test-clients`."""

from spar_client import Client, JudgementEvent

with Client() as client, client.stream("Tell me about the river. Do not use commas.", refine_budget=8) as stream:
    for event in stream:
        if isinstance(event, JudgementEvent):
            print(event.path, "accepted" if event.accepted else event.critique)
    completion = stream.completion()
print(completion.text)
print(completion.refinement.stop_reason)
