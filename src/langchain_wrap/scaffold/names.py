"""Names: what one name becomes as a distribution, a module, a class."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from typing import Self

_FORM = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_SEPARATOR = re.compile(r"[._-]+")
_MOST = 40
_TAKEN = frozenset(
    {"classic", "cli", "community", "core", "experimental", "tests", "text-splitters", "wrap"}
)


class NameRefusedError(ValueError):
    """A package cannot have this name; the message says why."""


@dataclass(frozen=True)
class Names:
    """The names of one package, in the form that LangChain's partner packages have."""

    slug: str
    """`my-model`"""
    distribution: str
    """`langchain-my-model`: what one installs."""
    module: str
    """`langchain_my_model`: what one imports."""
    cls: str
    """`MyModelLLM`"""
    env: str
    """`MY_MODEL`: what environment variables begin with."""

    @classmethod
    def of(cls, name: str) -> Self:
        """Derive all names from one, such as `my-model`, `My_Model` or `langchain-my-model`.

        Raises:
            NameRefusedError: It cannot be the name of a package, or is taken.
        """
        if not _FORM.fullmatch(name):
            raise NameRefusedError(
                f"{name!r} cannot be the name of a package: use the letters a to z, digits and "
                "hyphens, such as my-model"
            )
        words = _SEPARATOR.split(name)
        if words[0].lower() == "langchain":
            words = words[1:]
        slug = "-".join(words).lower()
        if not slug or slug == "llm":
            raise NameRefusedError(
                f"{name!r} does not say which model it is; add its name, such as my-model"
            )
        if not slug[0].isalpha():
            raise NameRefusedError(
                f"{name!r} would name a class that begins with a digit; put a letter first"
            )
        if len(slug) > _MOST:
            raise NameRefusedError(f"{name!r} has more than {_MOST} characters")
        distribution = f"langchain-{slug}"
        module = distribution.replace("-", "_")
        _refuse_taken(slug, distribution, module)
        title = "".join(word[0].upper() + word[1:] for word in words)
        return cls(
            slug=slug,
            distribution=distribution,
            module=module,
            cls=title[:-3] + "LLM" if title.lower().endswith("llm") else title + "LLM",
            env=slug.replace("-", "_").upper(),
        )


def _refuse_taken(slug: str, distribution: str, module: str) -> None:
    if slug in _TAKEN:
        raise NameRefusedError(f"{distribution} is another package already; choose another name")
    found = importlib.util.find_spec(module)
    if found is not None:
        where = found.origin or next(iter(found.submodule_search_locations or ()), "built in")
        raise NameRefusedError(
            f"a module {module} is installed here already ({where}); choose another name, or "
            f"remove it with: pip uninstall {distribution}"
        )
