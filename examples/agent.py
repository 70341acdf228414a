"""An agent with two tools, on a small model inside this process; it prints what happens.

Needs `pip install 'langchain-wrap[llama-cpp]' langchain`; fetches a model of 93 MB on first use.
The model is too small to know when to call a tool, or to retell a result, so it must call one, and
the result is the answer. That what it calls is a tool, with arguments that are valid, is certain,
since it is held to their schemas; that it is the right one is not.
"""

from typing import Literal

from langchain.agents import create_agent
from langchain.agents.middleware import wrap_model_call
from langchain.tools import tool

from langchain_wrap.models import LlamaCpp

Fruit = Literal["apples", "pears", "plums"]
STOCK = {"apples": 12, "pears": 0, "plums": 7}


@tool(return_direct=True)
def stock(fruit: Fruit) -> str:
    """Tell how much of a fruit there is."""
    return f"There are {STOCK[fruit]} {fruit} in stock."


@tool(return_direct=True)
def order(fruit: Fruit) -> str:
    """Order a box of a fruit."""
    return f"A box of {fruit} has been ordered."


@wrap_model_call
def must_call(request, handler):
    return handler(request.override(tool_choice="any"))


llm = LlamaCpp(model_path="smollm2", temperature=0, max_tokens=32, n_threads=1)
agent = create_agent(llm.as_chat(), [stock, order], middleware=[must_call])

for question in ("How many apples are in stock?", "Please order plums."):
    print(question)
    for update in agent.stream({"messages": question}, stream_mode="updates"):
        for step in update.values():
            for message in step["messages"]:
                for call in getattr(message, "tool_calls", ()):
                    print(f"  calls {call['name']} with {call['args']}")
                if message.text:
                    print(f"  {message.type}: {message.text}")
