"""A GGUF model in a chain: streamed, in a batch, and bound to a schema.

Needs `pip install 'langchain-wrap[llama-cpp]'`; fetches a model of 93 MB on first use.
"""

import json

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate

from langchain_wrap.models import LlamaCpp

llm = LlamaCpp(model_path="smollm2", temperature=0, max_tokens=40)
prompt = PromptTemplate.from_template(
    "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
)
chain = prompt | llm | StrOutputParser()

for piece in chain.stream({"question": "What is the sea? Answer in one sentence."}):
    print(piece, end="", flush=True)
print()

for answer in chain.batch([{"question": f"Where is {city}?"} for city in ("Rome", "Lima")]):
    print("-", " ".join(answer.split()))

schema = {
    "type": "object",
    "properties": {"country": {"type": "string", "maxLength": 20}},
    "required": ["country"],
    "additionalProperties": False,
}
print(json.loads(llm.invoke("The country of the city Lima as JSON: ", json_schema=schema)))
