"""openai for Python. Run by `make test-clients`."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=f"{os.environ.get('SPAR_URL', 'http://127.0.0.1:8000')}/v1", api_key=os.environ.get("SPAR_API_KEY", "none")
)
completion = client.chat.completions.create(
    model=os.environ.get("SPAR_MODEL", "spar-135m"),
    messages=[{"role": "user", "content": "Tell me about the river. Do not use commas."}],
    extra_body={"refine_budget": 8},
)
print(completion.choices[0].message.content)
print(completion.usage.model_extra["refinement"]["stop_reason"])
