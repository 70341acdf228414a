"""A function as a model, in a chain.

Prints:

    HELLO, WORLD
    ['HELLO, ANN', 'HELLO, BOB']
"""

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate

from langchain_wrap import wrap


@wrap
def shout(prompt):
    """Give back the prompt in capitals."""
    return prompt.upper()


chain = PromptTemplate.from_template("Hello, {name}") | shout | StrOutputParser()
print(chain.invoke({"name": "world"}))
print(chain.batch([{"name": "Ann"}, {"name": "Bob"}]))
