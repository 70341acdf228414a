"""Families: templates for models that come without one, in the formats these were trained on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """A template and the texts that end a turn in it."""

    source: str
    stops: tuple[str, ...]


_NO_TOOLS = """\
{%- for message in messages if message.role == 'tool' or message.tool_calls %}
{{- raise_exception('it has no form for tool calls and their answers') }}
{%- endfor %}
"""

# Qwen and Hermes: tools, calls and answers in tags; answers that come together are one user turn.
_CHATML = """\
{%- macro call_text(call) %}
{{- '<tool_call>\\n{"name": ' + call.name | tojson + ', "arguments": ' }}
{{- call.arguments | tojson + '}\\n</tool_call>' }}
{%- endmacro %}
{%- set system = messages[0].content if messages[0].role == 'system' else '' %}
{%- if tools %}
{{- '<|im_start|>system\\n' + (system + '\\n\\n' if system else '') }}
{{- '# Tools\\n\\nYou may call one or more of these functions to help with the request:' }}
{{- '\\n<tools>' }}
{%- for tool in tools %}
{{- '\\n' + tool | tojson }}
{%- endfor %}
{{- '\\n</tools>\\n\\nFor each call give a JSON object with the name and the arguments of the ' }}
{{- 'function, within <tool_call></tool_call> tags:\\n<tool_call>\\n' }}
{{- '{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if loop.first and tools and message.role == 'system' %}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user' if loop.first or loop.previtem.role != 'tool' }}
{{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
{{- '<|im_end|>\\n' if loop.last or loop.nextitem.role != 'tool' }}
{%- else %}
{{- '<|im_start|>' + message.role + '\\n' + message.content }}
{%- for call in message.tool_calls or () %}
{{- '\\n' if message.content or not loop.first }}
{{- call_text(call.function) }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{{- '<|im_start|>assistant\\n' if add_generation_prompt }}
"""

# Llama 3.1 and later: tools in the system message, calls as bare JSON, answers by "ipython".
_LLAMA3 = """\
{%- macro turn(role, text) %}
{{- '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' + text + '<|eot_id|>' }}
{%- endmacro %}
{{- bos_token }}
{%- set system = messages[0].content | trim if messages[0].role == 'system' else '' %}
{%- if tools %}
{%- set about %}
{{- 'Environment: ipython\\n\\nYou may call these functions. To call one, answer with JSON ' }}
{{- 'only, in the format {"name": function name, "parameters": dictionary of argument name and ' }}
{{- 'its value}. Do not use variables.\\n\\n' }}
{%- for tool in tools %}
{{- tool | tojson(indent=4) + '\\n\\n' }}
{%- endfor %}
{%- endset %}
{{- turn('system', about + system) }}
{%- endif %}
{%- for message in messages %}
{%- if loop.first and tools and message.role == 'system' %}
{%- elif message.role == 'tool' %}
{{- turn('ipython', message.content | tojson) }}
{%- elif message.tool_calls %}
{%- set calls %}
{{- message.content | trim + '\\n\\n' if message.content }}
{%- for call in message.tool_calls %}
{{- '{"name": ' + call.function.name | tojson + ', "parameters": ' }}
{{- call.function.arguments | tojson + '}' }}
{{- '; ' if not loop.last }}
{%- endfor %}
{%- endset %}
{{- turn(message.role, calls) }}
{%- else %}
{{- turn(message.role, message.content | trim) }}
{%- endif %}
{%- endfor %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' if add_generation_prompt }}
"""

# Mistral, third version: no system turn, so it opens the user's; tools stand before the last one.
_MISTRAL = """\
{%- set ns = namespace(last=-1, mine=false, said=false) %}
{%- for message in messages %}
{%- if message.role in ('system', 'user') %}
{%- if not ns.mine %}{% set ns.last = loop.index0 %}{% endif %}
{%- set ns.mine = true %}
{%- else %}
{%- set ns.mine = false %}
{%- endif %}
{%- endfor %}
{{- bos_token }}
{%- set ns.mine = false %}
{%- for message in messages %}
{%- if message.role in ('system', 'user') %}
{%- if tools and loop.index0 == ns.last %}
{{- '[AVAILABLE_TOOLS] ' + tools | tojson + '[/AVAILABLE_TOOLS]' }}
{%- endif %}
{{- ('\\n\\n' if ns.mine else '[INST] ') + message.content }}
{%- set ns.mine = true %}
{{- '[/INST]' if loop.last or loop.nextitem.role not in ('system', 'user') }}
{%- elif message.role == 'assistant' %}
{{- ('\\n\\n' if ns.said else ' ') + message.content if message.content }}
{%- if message.tool_calls %}
{{- '[TOOL_CALLS] [' }}
{%- for call in message.tool_calls %}
{{- '{"name": ' + call.function.name | tojson + ', "arguments": ' }}
{{- call.function.arguments | tojson + ', "id": ' + call.id | tojson + '}' }}
{{- ', ' if not loop.last }}
{%- endfor %}
{{- ']' }}
{%- endif %}
{%- set ns.said = not message.tool_calls and not loop.last and loop.nextitem.role == 'assistant' %}
{{- '</s>' if not ns.said }}
{%- set ns.mine = false %}
{%- elif message.role == 'tool' %}
{{- '[TOOL_RESULTS] {"content": ' + message.content | tojson + ', "call_id": ' }}
{{- message.tool_call_id | tojson + '}[/TOOL_RESULTS]' }}
{%- set ns.mine = false %}
{%- else %}
{{- raise_exception('it knows no role ' + message.role) }}
{%- endif %}
{%- endfor %}
"""

# Gemma: two roles that alternate; a system message opens the user's turn.
_GEMMA = (
    _NO_TOOLS
    + """\
{{- bos_token }}
{%- set ns = namespace(role='') %}
{%- for message in messages %}
{%- if message.role not in ('system', 'user', 'assistant') %}
{{- raise_exception('it knows no role ' + message.role) }}
{%- endif %}
{%- set role = 'model' if message.role == 'assistant' else 'user' %}
{%- if role == ns.role %}
{{- '\\n\\n' }}
{%- else %}
{{- '<end_of_turn>\\n' if ns.role }}
{{- '<start_of_turn>' + role + '\\n' }}
{%- endif %}
{{- message.content | trim }}
{%- set ns.role = role %}
{%- endfor %}
{{- '<end_of_turn>\\n' }}
{{- '<start_of_turn>model\\n' if add_generation_prompt }}
"""
)

_PHI = (
    _NO_TOOLS
    + """\
{%- for message in messages %}
{{- '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' }}
{%- endfor %}
{{- '<|assistant|>\\n' if add_generation_prompt }}
"""
)

# A transcript that anybody can read on: for base models, and for functions.
_PLAIN = (
    _NO_TOOLS
    + """\
{%- for message in messages %}
{{- '\\n\\n' if not loop.first }}
{{- message.role | capitalize + ': ' + message.content }}
{%- endfor %}
{{- '\\n\\nAssistant:' if add_generation_prompt }}
"""
)

FAMILIES = {
    "chatml": Family(_CHATML, ("<|im_end|>",)),
    "llama3": Family(_LLAMA3, ("<|eot_id|>",)),
    "mistral": Family(_MISTRAL, ("</s>",)),
    "gemma": Family(_GEMMA, ("<end_of_turn>",)),
    "phi": Family(_PHI, ("<|end|>",)),
    "plain": Family(_PLAIN, ("\n\nUser:", "\nUser:")),
}
"""The templates that have a name."""
