"""LangChain. Run by `make test-clients`."""

import os

from langchain_openai import ChatOpenAI

chat = ChatOpenAI(
    base_url=f"{os.environ.get('SPAR_URL', 'http://127.0.0.1:8000')}/v1",
    api_key=os.environ.get("SPAR_API_KEY", "none"),
    model=os.environ.get("SPAR_MODEL", "spar-135m"),
    extra_body={"refine_budget": 8},
)
answer = chat.invoke("Tell me about the river. Do not use commas.")
print(answer.content)
print(answer.response_metadata["token_usage"]["refinement"]["stop_reason"])
