"""A model that takes lists: callers who come one at a time are put together.

Prints:

    0 to 31 are squared: True
    in fewer than 32 calls: True
"""

import time
from concurrent.futures import ThreadPoolExecutor

from langchain_wrap import wrap

calls = []


@wrap(batch=True, max_batch_size=16)
def square(prompts):
    """Square numbers, in about the same time however many they are."""
    calls.append(len(prompts))
    time.sleep(0.02)
    return [str(int(prompt) ** 2) for prompt in prompts]


with ThreadPoolExecutor(32) as pool:
    answers = list(pool.map(square.invoke, map(str, range(32))))

print("0 to 31 are squared:", answers == [str(n * n) for n in range(32)])
print("in fewer than 32 calls:", len(calls) < 32)
