"""How an endpoint is reached: keys and headers, timeouts, certificates, proxies."""

from __future__ import annotations

import os
import re

import httpx
from langchain_core.exceptions import ModelAuthenticationError
from pydantic import AliasChoices, BaseModel, Field, SecretStr, field_validator

from langchain_wrap.models import http_client
from langchain_wrap.models.http_exchange import Outgoing

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


class Connection(BaseModel):
    """The fields of `HTTPEndpoint` that say how its server is reached."""

    headers: dict[str, str] = Field(default_factory=dict)
    """Headers of every request. What is in them is held for secret."""

    api_key: SecretStr | None = None
    """The key. Where it is None and `api_key_env` is given, the key is read from there."""

    api_key_env: str | None = None
    """The environment variable that holds the key, read at each call."""

    auth_scheme: str = Field(default="bearer", validation_alias=AliasChoices("auth", "auth_scheme"))
    """How the key is sent; given as `auth=`: `bearer` (`Authorization: Bearer …`), or the name of a
    header. (Under the name `auth`, it would be held for a key.)"""

    connect_timeout: float | None = Field(default=10.0, gt=0)
    """Seconds for a connection to be made."""

    read_timeout: float | None = Field(default=600.0, gt=0)
    """Seconds of silence after which a request is given up; `timeout` bounds the call itself."""

    verify: bool | str = True
    """Whether certificates are checked; or the file or folder of the CAs to check them with."""

    client_cert: str | tuple[str, str] | None = None
    """The certificate to show: a PEM file with its key, or two files."""

    proxy: str | None = None
    """The URL of a proxy. None: as the environment says (`HTTPS_PROXY`, …)."""

    trust_env: bool = True
    """Whether the environment's proxies and CAs (`SSL_CERT_FILE`) are used."""

    max_answer_bytes: int = Field(default=64 * 2**20, ge=1)
    """How large an answer, or one event of a stream, may be after decompression."""

    # --- requests ---

    def _outgoing(self, url: str, body: bytes) -> Outgoing:
        return Outgoing(
            url=url,
            headers=self._sent_headers(),
            body=body,
            timeout=httpx.Timeout(
                connect=self.connect_timeout,
                read=self.read_timeout,
                write=self.read_timeout,
                pool=None,
            ),
            settings=http_client.Settings(
                self.verify, self.client_cert, self.proxy, self.trust_env
            ),
        )

    def _sent_headers(self) -> httpx.Headers:
        headers = httpx.Headers(self.headers)
        key = self._key()
        if key and self.auth_scheme.lower() == "bearer":
            headers["Authorization"] = f"Bearer {key}"
        elif key:
            headers[self.auth_scheme] = key
        return headers

    def _key(self) -> str:
        if self.api_key is not None:
            key, where = self.api_key.get_secret_value(), "api_key"
        elif self.api_key_env is not None:
            key, where = os.environ.get(self.api_key_env, ""), self.api_key_env
            if not key.strip():
                raise ModelAuthenticationError(
                    f"the environment variable {where} has no key; set it, or pass api_key="
                )
        else:
            return ""
        key = key.strip()  # keys are read from files, with the end of a line
        if not _HEADER_VALUE.fullmatch(key):
            raise ModelAuthenticationError(f"{where} has a character that no header can hold")
        return key

    # --- validation ---

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a header")
            if not _HEADER_VALUE.fullmatch(text):
                raise ValueError(f"the value of {name!r} has a character that no header can hold")
        return value

    @field_validator("auth_scheme")
    @classmethod
    def _check_auth(cls, value: str) -> str:
        if not _HEADER_NAME.fullmatch(value):
            raise ValueError(f"{value!r} is neither 'bearer' nor the name of a header")
        return value

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                httpx.Proxy(value)
            except (ValueError, httpx.InvalidURL):
                raise ValueError(
                    "a proxy's URL begins with http://, https:// or socks5://"
                ) from None
        return value
