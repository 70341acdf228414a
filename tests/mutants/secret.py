"""Mutants of SECRET."""

from __future__ import annotations

from langchain_core.language_models.llms import BaseLLM
from langchain_core.outputs import GenerationChunk
from pydantic import SecretStr

from mutants.mutant import Mutant
from mutants.right import Core, Ours, answer, pieces

OWN = "sk-own-1234"
"""A key as a user has it; the kit must not show it."""


class CoreWithKey(Core):
    """So, behind a service: https://so.invalid/api."""

    api_key: SecretStr = SecretStr(OWN)
    """The key of the service."""


class PlainKey(Core):
    """So, behind a service: https://so.invalid/api."""

    api_key: str = OWN
    """The key of the service."""


class PlainOptionalToken(Core):
    """So, behind a service: https://so.invalid/api."""

    hf_token: str | None = None
    """The key of the service."""


class SecretOptionalToken(Core):
    """So, behind a service: https://so.invalid/api."""

    hf_token: SecretStr | None = None
    """The key of the service."""


class StrShowsKey(CoreWithKey):
    def __str__(self):
        return f"So with {self.api_key.get_secret_value()}"


class ParamsHoldKey(CoreWithKey):
    @property
    def _identifying_params(self):
        key = self.api_key.get_secret_value()
        return {**super()._identifying_params, "authorization": f"Bearer {key}"}


class ChunksTellRequest(CoreWithKey):
    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        request = {"headers": {"Authorization": self.api_key.get_secret_value()}}
        for number, piece in enumerate(pieces(self.text(prompt, stop)) or [""]):
            info = None if number else {"request": request}
            chunk = GenerationChunk(text=piece, generation_info=info)
            if run_manager:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


class OursWithKey(Ours):
    """So, behind a service: https://so.invalid/api."""

    api_key: SecretStr = SecretStr(OWN)
    """The key of the service."""

    default_headers: dict[str, str] | None = None
    """Sent with each request."""

    def _stream(self, prompt, **kwargs):
        yield from pieces(answer(prompt) * self.repeat)


class ParamsHoldHeaders(OursWithKey):
    @property
    def _identifying_params(self):
        headers = {"headers": dict(self.default_headers or {})}
        return {"model_name": self.model_name, "repeat": self.repeat, **headers}


class MetadataHoldsParameters(OursWithKey):
    def stream(self, input, config=None, **kwargs):
        metadata = {**((config or {}).get("metadata") or {}), "call": str(kwargs)}
        return super().stream(input, {**(config or {}), "metadata": metadata}, **kwargs)


class ErrorsAsTheyAre(OursWithKey):
    """So, behind a service: https://so.invalid/api. It answers by langchain-core's own frame."""

    generate = BaseLLM.generate


MUTANTS = [
    Mutant("SECRET-01", PlainKey, CoreWithKey),
    Mutant("SECRET-01", PlainOptionalToken, SecretOptionalToken),
    Mutant("SECRET-02", StrShowsKey, CoreWithKey),
    Mutant("SECRET-02", ParamsHoldKey, CoreWithKey, also=frozenset({"SECRET-03"})),
    Mutant("SECRET-03", ChunksTellRequest, CoreWithKey),
    Mutant("SECRET-04", ParamsHoldHeaders, OursWithKey),
    Mutant("SECRET-05", MetadataHoldsParameters, OursWithKey),
    Mutant(
        "SECRET-06", ErrorsAsTheyAre, OursWithKey, also=frozenset({"IDENTITY-13", "IDENTITY-14"})
    ),
]
