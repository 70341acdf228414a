"""One name becomes a distribution, a module, a class."""

import pytest

from langchain_wrap.scaffold.names import NameRefusedError, Names


@pytest.mark.parametrize(
    ("name", "distribution", "module", "cls", "env"),
    [
        ("foo", "langchain-foo", "langchain_foo", "FooLLM", "FOO"),
        ("my-model", "langchain-my-model", "langchain_my_model", "MyModelLLM", "MY_MODEL"),
        ("My_Model", "langchain-my-model", "langchain_my_model", "MyModelLLM", "MY_MODEL"),
        ("my.model", "langchain-my-model", "langchain_my_model", "MyModelLLM", "MY_MODEL"),
        ("my--model", "langchain-my-model", "langchain_my_model", "MyModelLLM", "MY_MODEL"),
        (
            "langchain-my-model",
            "langchain-my-model",
            "langchain_my_model",
            "MyModelLLM",
            "MY_MODEL",
        ),
        (
            "langchain_my_model",
            "langchain-my-model",
            "langchain_my_model",
            "MyModelLLM",
            "MY_MODEL",
        ),
        ("GreatAI", "langchain-greatai", "langchain_greatai", "GreatAILLM", "GREATAI"),
        ("my-llm", "langchain-my-llm", "langchain_my_llm", "MyLLM", "MY_LLM"),
        ("my-7b", "langchain-my-7b", "langchain_my_7b", "My7bLLM", "MY_7B"),
        # Behind the prefix, a keyword or a module of Python's own is a name like any other.
        ("class", "langchain-class", "langchain_class", "ClassLLM", "CLASS"),
        ("json", "langchain-json", "langchain_json", "JsonLLM", "JSON"),
    ],
)
def test_names(name, distribution, module, cls, env):
    names = Names.of(name)
    got = (names.distribution, names.module, names.cls, names.env)
    assert got == (distribution, module, cls, env)
    assert names.slug == distribution.removeprefix("langchain-")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "cannot be the name of a package"),
        ("-foo", "cannot be the name of a package"),
        ("foo_", "cannot be the name of a package"),
        ("my model", "cannot be the name of a package"),
        ("../foo", "cannot be the name of a package"),
        ("foo/bar", "cannot be the name of a package"),
        ("foo\n", "cannot be the name of a package"),
        ("modèle", "cannot be the name of a package"),
        ("$cls", "cannot be the name of a package"),
        ("langchain", "does not say which model it is"),
        ("LLM", "does not say which model it is"),
        ("langchain-llm", "does not say which model it is"),
        ("7b", "begins with a digit"),
        ("x" * 41, "more than 40 characters"),
        ("langchain_wrap", "langchain-wrap is another package already"),
        ("wrap", "langchain-wrap is another package already"),
        ("core", "langchain-core is another package already"),
        ("langchain-community", "langchain-community is another package already"),
    ],
)
def test_refused(name, reason):
    with pytest.raises(NameRefusedError, match=reason):
        Names.of(name)


def test_what_is_installed_is_refused(tmp_path, monkeypatch):
    (tmp_path / "langchain_foo.py").touch()
    (tmp_path / "langchain_folder").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NameRefusedError, match=r"langchain_foo is installed here already \(.*\)"):
        Names.of("foo")
    with pytest.raises(NameRefusedError, match=r"langchain_folder is installed .*langchain_folder"):
        Names.of("folder")
