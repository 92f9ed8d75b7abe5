"""LlamaIndex. Run by `make test-clients`."""

import os

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    api_base=f"{os.environ.get('SPAR_URL', 'http://127.0.0.1:8000')}/v1",
    api_key=os.environ.get("SPAR_API_KEY", "none"),
    model=os.environ.get("SPAR_MODEL", "spar-135m"),
    is_chat_model=True,
    additional_kwargs={"extra_body": {"refine_budget": 8}},
)
response = llm.chat([ChatMessage(role="user", content="Tell me about the river. Do not use commas.")])
print(response.message.content)
print(response.raw.usage.model_extra["refinement"]["stop_reason"])
