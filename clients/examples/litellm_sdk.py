"""LiteLLM's SDK. Run by `make test-clients`."""

import os

import litellm

response = litellm.completion(
    model=f"openai/{os.environ.get('SPAR_MODEL', 'spar-135m')}",
    api_base=f"{os.environ.get('SPAR_URL', 'http://127.0.0.1:8000')}/v1",
    api_key=os.environ.get("SPAR_API_KEY", "none"),
    messages=[{"role": "user", "content": "Tell me about the river. Do not use commas."}],
    refine_budget=8,
)
print(response.choices[0].message.content)
print(response.usage.refinement["stop_reason"])
