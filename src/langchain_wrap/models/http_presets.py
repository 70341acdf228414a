"""What well-known servers take and give, as fields of `HTTPEndpoint`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_wrap.models.http_parameters import same

_SAMPLING = "temperature top_p top_k min_p typical_p seed presence_penalty frequency_penalty "

# Without an index in each, they come in the order of the prompts.
_IN_ORDER = "choices[?index==`null`] && choices || sort_by(choices, &index)"
_OPENAI = (
    "max_tokens temperature top_p seed presence_penalty frequency_penalty logit_bias suffix user "
    "best_of"
)
# What vLLM, llama-server and SGLang take besides.
_BEYOND_OPENAI = (
    "top_k min_p typical_p repetition_penalty length_penalty min_tokens ignore_eos stop_token_ids "
    "bad_words allowed_token_ids truncate_prompt_tokens add_special_tokens skip_special_tokens "
    "response_format guided_json guided_regex guided_choice guided_grammar structured_outputs "
    "json_schema grammar cache_prompt id_slot repeat_penalty regex ebnf"
)
_OLLAMA = _SAMPLING + (
    "num_ctx num_keep num_batch num_gpu num_thread main_gpu use_mmap repeat_penalty "
    "repeat_last_n tfs_z mirostat mirostat_tau mirostat_eta"
)
_LLAMA_SERVER = _SAMPLING + (
    "n_keep repeat_penalty repeat_last_n mirostat mirostat_tau mirostat_eta grammar "
    "json_schema ignore_eos logit_bias n_probs samplers cache_prompt id_slot dynatemp_range "
    "dynatemp_exponent dry_multiplier dry_base dry_allowed_length xtc_probability xtc_threshold"
)
_TGI = (
    "max_new_tokens temperature top_k top_p typical_p seed do_sample repetition_penalty "
    "frequency_penalty best_of truncate watermark grammar return_full_text adapter_id"
)


def combined(preset: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Return a preset with a user's fields, which count before it.

    `body_params` are added; those of `chat` count one by one.
    """
    if "stream_format" in fields:  # the same field by its other name
        preset = {name: value for name, value in preset.items() if name != "stream"}
    declared = [*preset.get("body_params", ()), *fields.get("body_params", ())]
    chat, theirs = preset["chat"], fields.get("chat")
    more = {"chat": {**chat, **theirs}} if isinstance(theirs, Mapping) else {}
    return {**preset, **fields, **more, "body_params": declared}


def openai(base_url: str) -> dict[str, Any]:
    """Return what `POST /completions` of OpenAI-compatible servers takes and gives."""
    base = base_url.rstrip("/")
    root = base.removesuffix("/v1")
    choice = {"text": "choices[0].text", "finish_reason": "choices[0].finish_reason"}
    return {
        "url": f"{base}/completions",
        "body": {"model": "{model}", "prompt": "{prompt}", "stop": "{stop}", **same(_OPENAI)},
        "body_params": _BEYOND_OPENAI.split(),
        **choice,
        # Not `[].text`, which leaves out what is null and so gives a text to another's prompt.
        "texts": f"map(&text, {_IN_ORDER})",
        "finish_reasons": f"map(&finish_reason, {_IN_ORDER})",
        "usage": "usage",
        "stream": {
            "format": "sse",
            "done": "[DONE]",
            **choice,
            "usage": "usage",
            "body": {"stream": True, "stream_options": {"include_usage": True}},
        },
        "chat": {"dialect": "openai", "url": f"{base}/chat/completions"},
        # vLLM wants `prompt`, llama-server `content`; each passes over the other's.
        "tokenizer": {
            "url": f"{root}/tokenize",
            "body": {"model": "{model}", "prompt": "{text}", "content": "{text}"},
            "ids": "tokens",
        },
    }


def ollama(base_url: str) -> dict[str, Any]:
    """Return what `POST /api/generate` of Ollama takes and gives."""
    base = base_url.rstrip("/")
    found = {
        "text": "response",
        "finish_reason": "done_reason",
        "usage": "{prompt_tokens: prompt_eval_count, completion_tokens: eval_count}",
    }
    return {
        "url": f"{base}/api/generate",
        "body": {
            "model": "{model}",
            "prompt": "{prompt}",
            "stream": False,
            "options": {"stop": "{stop}", **same("num_predict"), **same(_OLLAMA)},
            **same("system template format keep_alive raw suffix think images context"),
        },
        **found,
        "stream": {"format": "ndjson", **found, "body": {"stream": True}},
        "chat": {
            "dialect": "ollama",
            "url": f"{base}/api/chat",
            "body": {"options": same(_OLLAMA)},
            "names": {"num_predict": "max_tokens"},
        },
    }


def llama_server(base_url: str) -> dict[str, Any]:
    """Return what `POST /completion` of llama.cpp's server takes and gives."""
    base = base_url.rstrip("/")
    counts = "{prompt_tokens: tokens_evaluated, completion_tokens: tokens_predicted}"
    limit = "(stop_type == 'limit' || stopped_limit)"  # the second in older versions
    found = {
        "text": "content",
        "finish_reason": f"stop && ({limit} && 'length' || 'stop') || `null`",
        "usage": f"stop && {counts} || `null`",
    }
    return {
        "url": f"{base}/completion",
        "body": {
            "prompt": "{prompt}",
            "stop": "{stop}",
            **same("n_predict"),
            **same(_LLAMA_SERVER),
        },
        **found,
        "stream": {"format": "sse", **found, "body": {"stream": True}},
        "chat": {
            "dialect": "openai",
            "url": f"{base}/v1/chat/completions",
            "body": same(_LLAMA_SERVER),
            "names": {"n_predict": "max_tokens"},
            # It does not make the model call a tool, whatever tool_choice says (b11549).
            "native": ("tools", "json_schema"),
        },
        "tokenizer": {"url": f"{base}/tokenize", "body": {"content": "{text}"}, "ids": "tokens"},
    }


def tgi(base_url: str) -> dict[str, Any]:
    """Return what `POST /generate` and `/generate_stream` of TGI take and give."""
    base = base_url.rstrip("/")
    reason = "details.finish_reason"
    found = {
        # `eos_token` and `stop_sequence` are what others call `stop`.
        "finish_reason": f"{reason} && ({reason} == 'length' && 'length' || 'stop') || `null`",
        "usage": "details && {prompt_tokens: details.input_length, "
        "completion_tokens: details.generated_tokens} || `null`",
    }
    return {
        "url": f"{base}/generate",
        "body": {
            "inputs": "{prompt}",
            "parameters": {"stop": "{stop}", "details": True, **same(_TGI)},
        },
        "text": "generated_text",
        **found,
        "stream": {
            "format": "sse",
            "url": f"{base}/generate_stream",
            "text": "token && !(token.special) && token.text || `null`",
            **found,
        },
        "chat": {
            "dialect": "openai",
            "url": f"{base}/v1/chat/completions",
            "names": {"max_new_tokens": "max_tokens"},
        },
        "tokenizer": {"url": f"{base}/tokenize", "body": {"inputs": "{text}"}, "ids": "[].id"},
    }
