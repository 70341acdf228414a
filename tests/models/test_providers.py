"""Providers: the built-in names, and those of a package that is really installed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from langchain_wrap import init_llm
from langchain_wrap.models import Command, providers

SOURCE = Path(__file__).parents[2] / "src"
PACKAGE = '''
from langchain_wrap import LLM

class Acme(LLM):
    """A model of a third party."""
    model: str
    shout: bool = False
    def _call(self, prompt, times=1):
        text = f"{self.model}: {prompt}" * times
        return text.upper() if self.shout else text

def typed(model: str, **fields) -> Acme:
    return Acme(model=model, **fields)

def untyped(model, **fields):
    return Acme(model=model, **fields)

def named(model, shout=False):
    return Acme(model=model, shout=shout)

def unknown(model: str, **fields) -> "Nowhere":
    return Acme(model=model, **fields)

def wrong(model):
    return {"model": model}
'''
ENTRIES = """
[langchain_wrap.models]
acme = acme_llm:Acme
acme-typed = acme_llm:typed
acme-untyped = acme_llm:untyped
acme-named = acme_llm:named
acme-unknown = acme_llm:unknown
acme-wrong = acme_llm:wrong
acme-gone = acme_llm:gone
acme-lacks = acme_lacks:typed
command = acme_llm:Acme
"""


def install(folder: Path, name: str = "acme-llm", entries: str = ENTRIES) -> Path:
    """Install a package as pip would: its modules, and what its metadata says."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)
    (folder / "acme_llm.py").write_text(PACKAGE)
    (folder / "acme_lacks.py").write_text("import no_such_package\n")
    return folder


@pytest.fixture
def acme(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(install(tmp_path / "site"))
    yield tmp_path / "site"
    for name in ("acme_llm", "acme_lacks"):
        sys.modules.pop(name, None)


class TestPackages:
    def test_they_are_listed_after_the_built_in_ones(self, acme):
        names = providers.names()
        assert names[: len(providers.BUILT_IN)] == list(providers.BUILT_IN)
        assert names[len(providers.BUILT_IN) :][:2] == ["acme", "acme-gone"]
        assert names.count("command") == 1

    def test_a_built_in_name_is_not_replaced(self, acme):
        assert providers.find("command") is providers.command

    def test_one_that_is_installed_later_is_found(self, tmp_path, monkeypatch):
        assert providers.find("acme") is None
        monkeypatch.syspath_prepend(install(tmp_path))
        assert providers.find("acme") is not None

    def test_two_packages_of_one_name_are_an_error_that_names_both(
        self, acme, tmp_path, monkeypatch
    ):
        entries = "[langchain_wrap.models]\nacme = other:made\n"
        monkeypatch.syspath_prepend(install(tmp_path / "other", "other-llm", entries))
        with pytest.raises(ValueError, match=r"provider 'acme': .*of the package (acme|other)-llm"):
            providers.find("acme")

    def test_one_that_cannot_be_imported_is_an_error_that_says_whose_it_is(self, acme):
        with pytest.raises(
            ImportError, match=r"'acme-lacks'.*package acme-llm: No module"
        ) as error:
            providers.find("acme-lacks")
        assert error.value.name == "no_such_package"
        with pytest.raises(ImportError, match=r"'acme-gone'.*has no attribute 'gone'"):
            providers.find("acme-gone")

    def test_what_gives_no_llm_is_a_type_error(self, acme):
        with pytest.raises(TypeError, match="the provider 'acme-wrong' gave a dict"):
            providers.make("acme-wrong", providers.find("acme-wrong"), "m", {})


class TestFields:
    @pytest.mark.parametrize("name", ["acme", "acme-typed", "acme-named"])
    def test_they_are_told_from_parameters_of_the_call(self, acme, name):
        is_field = providers.fields(name, providers.find(name))
        assert is_field("shout")
        assert not is_field("times")
        assert not is_field("model")

    @pytest.mark.parametrize("name", ["acme-untyped", "acme-unknown"])
    def test_a_function_that_does_not_say_takes_all(self, acme, name):
        assert providers.fields(name, providers.find(name))("times")

    @pytest.mark.parametrize(
        ("name", "field", "parameter"),
        [
            ("llama-cpp", "n_ctx", "nothing"),
            ("command", "persistent", "temperature"),
            ("http", "stream", "temperature"),
            ("http+openai", "api_key", "temperature"),
            ("ollama", "base_url", "num_ctx"),
        ],
    )
    def test_of_the_built_in_ones(self, name, field, parameter):
        is_field = providers.fields(name, providers.find(name))
        assert is_field(field)
        assert not is_field(parameter)


class TestBuiltIn:
    def test_a_command_is_split_as_a_shell_would(self):
        made = providers.command("./main --name 'a b' -p {prompt}", grace=1)
        assert made == Command(["./main", "--name", "a b", "-p", "{prompt}"], grace=1)
        with pytest.raises(ValueError, match=r"./main 'a. cannot be split.*No closing quotation"):
            providers.command("./main 'a")

    def test_servers(self):
        llm = providers.http_openai("http://host:8000/v1#some/model:7b", api_key="k")
        assert (llm.url, llm.model) == ("http://host:8000/v1/completions", "some/model:7b")
        assert providers.http_openai("http://host/v1").model is None
        assert providers.http_ollama("http://host#llama3").url == "http://host/api/generate"
        assert providers.http_llama_server("http://host").url == "http://host/completion"
        assert providers.http_tgi("http://host").url == "http://host/generate"
        llm = providers.http("http://host/x#m", text="a.b")
        assert (llm.url, llm.model, llm.text) == ("http://host/x", "m", "a.b")

    def test_ollama_needs_a_model(self):
        with pytest.raises(ValueError, match="add it after #, as in http://host#llama3"):
            providers.http_ollama("http://host")

    @pytest.mark.parametrize(
        ("host", "url"),
        [
            (None, "http://127.0.0.1:11434"),
            ("", "http://127.0.0.1:11434"),
            ("box", "http://box:11434"),
            ("box:1234", "http://box:1234"),
            ("box:", "http://box:11434"),
            (" box/ ", "http://box:11434"),
            ("[::1]", "http://[::1]:11434"),
            ("[::1]:80", "http://[::1]:80"),
            ("http://box", "http://box"),
            ("https://box:5/", "https://box:5"),
            (":8080", "http://127.0.0.1:8080"),
            ("http://:8080", "http://127.0.0.1:8080"),
            ("box/path", "http://box:11434/path"),
            ("me:word@box", "http://me:word@box:11434"),
        ],
    )
    def test_ollama_is_where_its_own_clients_look_for_it(self, monkeypatch, host, url):
        if host is None:
            monkeypatch.delenv("OLLAMA_HOST", raising=False)
        else:
            monkeypatch.setenv("OLLAMA_HOST", host)
        llm = providers.ollama("llama3:8b")
        assert (llm.url, llm.model) == (url + "/api/generate", "llama3:8b")
        assert providers.ollama("m", base_url="http://b").url == "http://b/api/generate"

    @pytest.mark.parametrize("host", ["box:abc", "box:99999", "http://[::1"])
    def test_an_ollama_host_that_is_none(self, monkeypatch, host):
        monkeypatch.setenv("OLLAMA_HOST", host)
        with pytest.raises(ValueError, match="OLLAMA_HOST is not the host"):
            providers.ollama("llama3")

    @pytest.mark.parametrize("name", ["http+ollama:{}", "{}"])
    @pytest.mark.parametrize("url", ["http://me:SECRET@box/v1?k=SECRET", "https://me:SE#CRET@box"])
    def test_a_url_without_a_name_is_shown_without_its_secrets(self, name, url):
        with pytest.raises(ValueError, match="box") as caught:
            init_llm(name.format(url.replace("#", "%23") if "+" in name else url))
        assert "CRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "blocked", "extra"),
    [
        ("http+openai:http://host/v1", "httpx", "http"),
        ("ollama:llama3", "jmespath", "http"),
        ("transformers:some/model", "torch", "transformers"),
        ("transformers:some/model", "transformers", "transformers"),
    ],
)
def test_a_missing_extra_gives_its_install_line(name, blocked, extra):
    code = textwrap.dedent(f"""
        import sys, types

        class Block:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == {blocked!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

        sys.meta_path.insert(0, Block())
        if {blocked!r} == "transformers":
            sys.modules["torch"] = types.ModuleType("torch")
        from langchain_wrap import MissingExtraError, init_llm

        try:
            init_llm({name!r})
        except MissingExtraError as error:
            print(error)
    """)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert f"pip install 'langchain-wrap[{extra}]'" in done.stdout
