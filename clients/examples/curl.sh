#!/bin/sh
# curl. Run by `make test-clients`.
curl --silent --show-error --fail-with-body "${SPAR_URL:-http://127.0.0.1:8000}/v1/chat/completions" \
  --header "Authorization: Bearer ${SPAR_API_KEY:-none}" --header "Content-Type: application/json" \
  --data '{"model": "'"${SPAR_MODEL:-spar-135m}"'", "refine_budget": 8,
           "messages": [{"role": "user", "content": "Tell me about the river. Do not use commas."}]}'
