"""The contract in pytest: a parametrized test, or a class of tests; it needs pytest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar

import pytest
from langchain_core.language_models import BaseChatModel, BaseLanguageModel
from langchain_core.language_models.llms import BaseLLM

from langchain_wrap.checks.chat.kit import CHATS
from langchain_wrap.checks.clause import Clause, Level
from langchain_wrap.checks.reports.characters import visible
from langchain_wrap.checks.reports.text import explained
from langchain_wrap.checks.result import CheckResult
from langchain_wrap.checks.session import LLMS, Kit, Session, expected

Target = BaseLLM | Callable[[], BaseLLM]
ChatTarget = BaseChatModel | Callable[[], BaseChatModel]


def parametrize_with_checks(
    llms: Iterable[Target],
    *,
    level: Level = "production",
    only: str | Collection[str] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    deterministic: bool | None = None,
    timeout: float = 10.0,
) -> pytest.MarkDecorator:
    """Make one test a test of every clause of the contract, for each model.

    ```python
    @parametrize_with_checks([MyLLM])
    def test_contract(check):
        check()
    ```

    The test's ids are those of the clauses, such as `STOP-05`, or `MyLLM-STOP-05` if there are
    several models. A model is made when its first check runs, not when tests are collected.

    Args:
        llms: Models, or functions or classes that make one without arguments.
        level: As in `check_llm`.
        only: As in `check_llm`.
        expected_failures: Ids of clauses with reasons; such a test must fail (a strict xfail).
        deterministic: As in `check_llm`.
        timeout: As in `check_llm`.

    Raises:
        TypeError: `llms` is no list of models.
        ValueError: A clause, area or level does not exist, or a reason is empty.
    """
    return _parametrize(
        LLMS, llms, "parametrize_with_checks", level=level, only=only,
        expected_failures=expected_failures, deterministic=deterministic, timeout=timeout,
    )  # fmt: skip


def parametrize_with_chat_checks(
    models: Iterable[ChatTarget],
    *,
    level: Level = "production",
    only: str | Collection[str] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    deterministic: bool | None = None,
    timeout: float = 10.0,
) -> pytest.MarkDecorator:
    """Make one test a test of every clause on chat models; see `parametrize_with_checks`.

    ```python
    @parametrize_with_chat_checks([MyChatModel])
    def test_contract(check):
        check()
    ```

    Args:
        models: Chat models, or functions or classes that make one without arguments.
        level: As in `check_chat`.
        only: As in `check_chat`.
        expected_failures: Ids of clauses with reasons; such a test must fail (a strict xfail).
        deterministic: As in `check_chat`.
        timeout: As in `check_chat`.

    Raises:
        TypeError: `models` is no list of models.
        ValueError: A clause, area or level does not exist, or a reason is empty.
    """
    return _parametrize(
        CHATS, models, "parametrize_with_chat_checks", level=level, only=only,
        expected_failures=expected_failures, deterministic=deterministic, timeout=timeout,
    )  # fmt: skip


def _parametrize(
    kit: Kit,
    models: Any,
    function: str,
    *,
    expected_failures: Mapping[str, str] | None,
    **options: Any,
) -> pytest.MarkDecorator:
    if isinstance(models, BaseLanguageModel | type) or not isinstance(models, Iterable):
        raise TypeError(f"{function}() takes a list of models, and was given {models!r}")
    targets = list(models)
    reasons = expected(expected_failures, kit)
    parameters = []
    for target, name in zip(targets, _names(targets), strict=True):
        session = Session(target, kit=kit, **options)
        for clause in session.clauses:
            id_ = clause.id if len(targets) == 1 else f"{name}-{clause.id}"
            marks = [_xfail(reasons[clause.id])] if clause.id in reasons else []
            parameters.append(pytest.param(_Check(session, clause), id=id_, marks=marks))
    return pytest.mark.parametrize("check", parameters)


def _xfail(reason: str) -> pytest.MarkDecorator:
    # Of the check only: a model that cannot be made was not expected.
    return pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError)


def _names(targets: list[Any]) -> list[str]:
    """Return a name for each model, without making it; equal ones are numbered."""
    names = [
        type(target).__name__
        if isinstance(target, BaseLanguageModel)
        else getattr(target, "__name__", type(target).__name__)
        for target in targets
    ]
    equal, seen = Counter(names), Counter[str]()
    for index, name in enumerate(names):
        if equal[name] > 1:
            seen[name] += 1
            names[index] = f"{name}{seen[name]}"
    return names


class _Check:
    """One clause, to be checked on one model; what a test is given as `check`."""

    def __init__(self, session: Session, clause: Clause) -> None:
        self.clause = clause
        self._session = session

    def __call__(self) -> None:
        """Check the clause.

        Raises:
            AssertionError: It does not hold; the text says why that matters and how to mend it.
        """
        __tracebackhide__ = True
        _judge(self._session.check(self.clause))

    def __repr__(self) -> str:
        return f"<check of {self.clause.id}>"


def _judge(result: CheckResult) -> None:
    """Tell pytest what came of a check."""
    __tracebackhide__ = True
    message = visible(result.message)
    if result.status == "failed":
        head = [message, "", f"{result.id} ({result.level}): {result.title}"]
        raise AssertionError("\n".join([*head, *explained(result)]))
    if result.status == "xpassed":
        raise AssertionError(f"[XPASS(strict)] {message}")
    if result.status == "skipped":
        pytest.skip(message)
    if result.status == "xfailed":
        pytest.xfail(message)


class _StandardTests:
    """What the classes of tests of the two kits share."""

    _kit: ClassVar[Kit]
    _session: ClassVar[Session | None] = None

    def _make(self) -> Callable[[], Any]:
        """Return what makes the model."""
        raise NotImplementedError

    @property
    def level(self) -> Level:
        """As in `check_llm`; clauses above it are skipped."""
        return "production"

    @property
    def expected_failures(self) -> Mapping[str, str]:
        """Ids of clauses that must fail, with reasons."""
        return {}

    @property
    def deterministic(self) -> bool | None:
        """As in `check_llm`."""
        return None

    @property
    def timeout(self) -> float:
        """As in `check_llm`."""
        return 10.0

    def test_no_overrides_DO_NOT_OVERRIDE(self) -> None:  # noqa: N802
        """No test of a clause is overridden or taken away without a reason."""
        base = next(cls for cls in type(self).__mro__ if "_kit" in vars(cls))
        names = [name for name in dir(base) if name.startswith("test_")]
        silent = [
            name
            for name in names
            if getattr(type(self), name) is not getattr(base, name)
            and not _is_strict_xfail(getattr(type(self), name))
        ]
        if silent:
            raise AssertionError(
                f"{', '.join(silent)}: overridden without "
                '@pytest.mark.xfail(reason="...", strict=True); '
                "clauses that are known not to hold can also be named in `expected_failures`"
            )

    def _check(self, clause: Clause) -> None:
        __tracebackhide__ = True
        cls = type(self)
        if "_session" not in vars(cls):
            cls._session = Session(
                self._make(),
                kit=self._kit,
                level=self.level,
                expected_failures=self.expected_failures,
                deterministic=self.deterministic,
                timeout=self.timeout,
            )
        session = cls._session
        if session is None or clause not in session.clauses:
            pytest.skip(f"of the level {clause.level}; this class tests the level {self.level}")
        _judge(session.check(clause))


def _is_strict_xfail(method: Any) -> bool:
    return any(
        mark.name == "xfail" and mark.kwargs.get("reason") and mark.kwargs.get("strict")
        for mark in getattr(method, "pytestmark", ())
    )


class LLMStandardTests(_StandardTests):
    """The contract as a class of tests, in the style of langchain-tests.

    ```python
    class TestMyLLM(LLMStandardTests):
        @property
        def llm_class(self):
            return MyLLM

        @property
        def llm_params(self):
            return {"model_name": "small"}
    ```

    There is a test for each clause, such as `test_stop_05`; one model serves all of a class. A
    clause that is known not to hold is named in `expected_failures`, or its test is overridden
    under `@pytest.mark.xfail(reason="...", strict=True)`.
    """

    _kit = LLMS

    @property
    def llm_class(self) -> type[BaseLLM]:
        """The class to test; must be defined."""
        raise NotImplementedError(f"{type(self).__name__} must define `llm_class`, and does not")

    @property
    def llm_params(self) -> dict[str, Any]:
        """What the model is made with."""
        return {}

    def _make(self) -> Callable[[], Any]:
        make, params = self.llm_class, self.llm_params
        return lambda: make(**params)


class ChatStandardTests(_StandardTests):
    """The clauses on chat models as a class of tests, in the style of langchain-tests.

    ```python
    class TestMyChatModel(ChatStandardTests):
        @property
        def chat_model_class(self):
            return MyChatModel

        @property
        def chat_model_params(self):
            return {"model_name": "small"}
    ```

    There is a test for each clause, such as `test_chat_stop_05`. It stands next to langchain-tests'
    own classes, of which it repeats nothing; the two properties have the same names.
    """

    _kit = CHATS

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        """The class to test; must be defined."""
        raise NotImplementedError(
            f"{type(self).__name__} must define `chat_model_class`, and does not"
        )

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """What the model is made with."""
        return {}

    def _make(self) -> Callable[[], Any]:
        make, params = self.chat_model_class, self.chat_model_params
        return lambda: make(**params)


def _test(cls: type[_StandardTests], clause: Clause) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        __tracebackhide__ = True
        self._check(clause)

    test.__name__ = f"test_{clause.id.lower().replace('-', '_')}"
    test.__qualname__ = f"{cls.__qualname__}.{test.__name__}"
    test.__doc__ = f"{clause.title}\n\nWhy: {clause.why}\n\nFix: {clause.fix}"
    return test


for _cls in (LLMStandardTests, ChatStandardTests):
    for _clause in _cls._kit.clauses():
        _made = _test(_cls, _clause)
        setattr(_cls, _made.__name__, _made)
