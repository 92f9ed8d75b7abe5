"""DSPy. Run by `make test-clients`. Every call of the program is refined."""

import os

import dspy

lm = dspy.LM(
    f"openai/{os.environ.get('SPAR_MODEL', 'spar-135m')}",
    api_base=f"{os.environ.get('SPAR_URL', 'http://127.0.0.1:8000')}/v1",
    api_key=os.environ.get("SPAR_API_KEY", "none"),
    extra_body={"refine_budget": 8},
)
dspy.configure(lm=lm)
program = dspy.Predict("instruction -> answer")
print(program(instruction="Tell me about the river. Do not use commas.").answer)
