"""`Command`: a program on the command line as a model."""

from __future__ import annotations

import codecs
import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from langchain_core.outputs import GenerationChunk
from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator

from langchain_wrap import LLM, CancelToken, CommandError
from langchain_wrap.errors import did_you_mean
from langchain_wrap.models import template
from langchain_wrap.models.command_pool import Gone, Pool, Worker
from langchain_wrap.models.command_process import Program, ending
from langchain_wrap.models.command_text import Completion

Arguments = list[str | list[str]]

_BUSY = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Reasons for which a program cannot be started now, and can later."""
_OF_OUTPUT = ("stdin", "after", "strip_prompt", "until")
"""Fields that have no meaning for a persistent program."""


class Command(LLM):
    """A program as a model: it is given the prompt, and prints the completion.

    The prompt is an argument, `{prompt}` in `command`, or else goes to stdin. There is never a
    shell: each argument reaches the program as it is. What it prints to stdout is streamed as it
    comes. A call that is cancelled, left or ended by a stop ends the program and all that it has
    started: asked first (SIGTERM), forced after `grace` seconds. What a program that has ended
    leaves running is ended too.

    A prompt that begins with `-` may look like an option to a program: put it behind an option
    that takes a value (`"-p", "{prompt}"`, `"--prompt={prompt}"`), behind `--`, or on stdin.

    Example:
        ```python
        from langchain_wrap.models import Command

        llm = Command(["./complete", ["--temp", "{temperature}"], "-p", "{prompt}"])
        llm.invoke("The capital of France is", temperature=0)
        ```

    Raises:
        CommandError: The program cannot be started, or ended with an exit code that is no success;
            with the tail of its stderr.
    """

    command: Arguments = Field(min_length=1)
    """The program and its arguments: templates in which `{prompt}`, `{stop}` (JSON) and the names
    of parameters stand for values.

    A list within the list goes as a whole, and is left out if one of its names has no value in a
    call. Other braces stay as they are; `{{name}}` stands for `{name}`.
    """

    stdin: str | None = None
    """What goes to stdin, a template. None: the prompt, unless it is an argument."""

    params: dict[str, Any] = Field(default_factory=dict)
    """Values of the templates' parameters for all calls; those of a call count before them."""

    env: dict[str, SecretStr] = Field(default_factory=dict)
    """Environment variables besides those of this process; texts, which are held for secret."""

    cwd: str | None = None
    """The folder to run the program in. None: the current one."""

    after: str | None = Field(default=None, min_length=1)
    """A marker in the output: what comes up to and including it (a banner) is skipped."""

    strip_prompt: bool = False
    """Whether the program repeats the prompt first, which is then dropped."""

    until: str | None = Field(default=None, min_length=1)
    """A marker in the output that ends the completion; the program is ended there."""

    success_codes: list[int] = Field(default_factory=lambda: [0])
    """Exit codes that are no error."""

    grace: float = Field(default=2.0, gt=0)
    """Seconds that the program has to end after it was asked to, before it is forced."""

    persistent: bool = False
    """Whether the program goes on running and answers prompt after prompt, in lines of JSON.

    It reads `{"prompt": "...", "stop": [], "params": {}}` and writes any number of
    `{"text": "..."}`, then `{"done": true}` or `{"error": "..."}`. One runs for each call at once;
    `concurrency` is 1 unless it is given.
    """

    _pool: Pool = PrivateAttr(default_factory=Pool)

    def __init__(self, command: Sequence[str | Sequence[str]], **fields: Any) -> None:
        if isinstance(command, str):
            raise TypeError(
                "command is a list, the program and its arguments, since no shell splits it: "
                "shlex.split() makes one of a line"
            )
        super().__init__(**{"command": command, **fields})

    @property
    def _llm_type(self) -> str:
        return "command"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model_name": os.path.basename(self._program), **super()._identifying_params}

    @property
    def _program(self) -> str:
        return str(self.command[0])

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._pool = Pool()
        return copied

    def _stream(  # type: ignore[override]
        self,
        prompt: str,
        stop: list[str] | None = None,
        cancel: CancelToken | None = None,
        **params: Any,
    ) -> Iterator[GenerationChunk | str]:
        cancel = cancel or CancelToken()
        _check_text(prompt)
        if self.persistent:
            yield from self._ask(prompt, stop, cancel, self._given(params, declared=None))
        else:
            yield from self._run(prompt, stop, cancel, params)

    # --- a process for each call ---

    def _run(
        self, prompt: str, stop: list[str] | None, cancel: CancelToken, params: dict[str, Any]
    ) -> Iterator[str]:
        given = self._given(params, declared=self._names)
        values = {name: value for name, value in given.items() if value is not None}
        values.update(prompt=prompt, stop=template.as_text(stop or []))
        program = self._start(self._arguments(values))
        completion = Completion(
            after=self.after, echo=prompt if self.strip_prompt else "", until=self.until
        )
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text: list[str] = []
        cancel.add_callback(program.end)
        try:
            program.send(self._input(values), last=True)
            for data in program.output():
                piece = completion.feed(decoder.decode(data))
                if piece:
                    text.append(piece)
                    yield piece
                if completion.ended:
                    return
            self._check_end(program, cancel, "".join(text))
            rest = self._rest(completion, decoder.decode(b"", final=True), program, cancel)
            if rest:
                yield rest
        finally:
            cancel.remove_callback(program.end)
            program.close()

    def _check_end(self, program: Program, cancel: CancelToken, text: str) -> None:
        code = program.wait()
        if code in self.success_codes or cancel.cancelled:
            return
        raise CommandError(
            f"{self._program} {ending(code)}: {program.stderr or '(nothing on stderr)'}",
            returncode=code,
            stderr=program.stderr,
            partial_text=text,
        )

    def _rest(
        self, completion: Completion, last: str, program: Program, cancel: CancelToken
    ) -> str:
        try:
            return completion.feed(last) + completion.finish()
        except ValueError as error:
            if cancel.cancelled:
                return ""
            raise CommandError(f"{self._program}: {error}", stderr=program.stderr) from None

    def _start(self, arguments: list[str]) -> Program:
        env = {name: _plain(value) for name, value in self.env.items()}
        try:
            return Program(arguments, env=env, cwd=self.cwd, grace=self.grace)
        except FileNotFoundError as error:
            what = f"no folder {self.cwd!r}" if error.filename == self.cwd else "no such program"
            if what == "no such program" and os.path.exists(
                os.path.join(self.cwd or "", arguments[0])
            ):
                what = "the interpreter that its first line names does not exist"
            raise CommandError(f"{arguments[0]!r} cannot be started: {what}") from None
        except OSError as error:
            too_big = error.errno == errno.E2BIG
            hint = "; a prompt of this size fits on stdin only" if too_big else ""
            failed = CommandError(f"{arguments[0]!r} cannot be started: {error}{hint}")
            failed.is_retryable = error.errno in _BUSY
            raise failed from None

    def _arguments(self, values: Mapping[str, Any]) -> list[str]:
        arguments: list[str] = []
        for one in self.command:
            filled = [
                template.fill(part, values) for part in ([one] if isinstance(one, str) else one)
            ]
            if None not in filled:
                arguments += map(template.as_text, filled)
            elif isinstance(one, str):
                raise ValueError(
                    f"the argument {one!r} {_lack(one, values)}, or let it be left out: put it in "
                    f"a list of its own, [{one!r}]"
                )
        for argument in arguments:
            if "\0" in argument:
                raise ValueError("an argument of a program cannot hold a NUL character; use stdin")
        return arguments

    def _input(self, values: Mapping[str, Any]) -> bytes:
        text = self.stdin
        if text is None:
            text = "" if "prompt" in template.names(self.command) else "{prompt}"
        filled = template.fill(text, values)
        if filled is None:
            raise ValueError(f"stdin={text!r} {_lack(text, values)}")
        return template.as_text(filled).encode()

    @property
    def _names(self) -> frozenset[str]:
        """The parameters that the templates name."""
        return template.names([*self.command, self.stdin or ""]) - {"prompt", "stop"}

    def _given(
        self, params: Mapping[str, Any], *, declared: frozenset[str] | None
    ) -> dict[str, Any]:
        """Return the parameters of a call.

        Raises:
            TypeError: One is in no template.
        """
        for name in params:
            if declared is not None and name not in declared:
                raise TypeError(
                    f"Command takes no parameter {name!r}: no template names it."
                    f"{did_you_mean(name, declared)} It takes: "
                    f"{', '.join(sorted(declared)) or 'none'}"
                )
        return {**self.params, **params}

    # --- one process for many calls ---

    def _ask(
        self, prompt: str, stop: list[str] | None, cancel: CancelToken, params: dict[str, Any]
    ) -> Iterator[GenerationChunk | str]:
        arguments = self._arguments(self.params)
        made_of = (arguments, dict(self.env), self.cwd, self.grace)
        request = {"prompt": prompt, "stop": stop or [], "params": params}
        while True:
            try:
                with self._pool.worker(made_of, lambda: self._start(arguments), cancel) as worker:
                    yield from self._told(worker, request, cancel)
            except Gone:  # as programs do that answer once; a new one has not answered yet
                if cancel.cancelled:
                    return
            else:
                return

    def _told(
        self, worker: Worker, request: dict[str, Any], cancel: CancelToken
    ) -> Iterator[GenerationChunk]:
        text: list[str] = []
        try:
            for answer in worker.ask(request):
                if answer.get("error") is not None:
                    raise CommandError(str(answer["error"]))
                info = {k: v for k, v in answer.items() if k not in ("text", "done")}
                chunk = GenerationChunk(text=answer.get("text", ""), generation_info=info)
                text.append(chunk.text)
                yield chunk
        except CommandError as error:
            if cancel.cancelled:
                return
            error.args = (f"{self._program}: {error}",)
            error.partial_text = "".join(text)
            raise

    @model_validator(mode="before")
    @classmethod
    def _one_at_a_time(cls, values: Any) -> Any:
        if (
            isinstance(values, dict)
            and values.get("persistent")
            and values.get("concurrency") is None
        ):
            return {**values, "concurrency": 1}
        return values

    @field_validator("command", "cwd", mode="before")
    @classmethod
    def _take_paths(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [cls._take_paths(one) for one in value]
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    @model_validator(mode="after")
    def _check_templates(self) -> Self:
        names = template.names([*self.command, self.stdin or ""])
        if not isinstance(self.command[0], str):
            raise ValueError("command: the program, its first entry, cannot be left out: no list")
        if self.persistent and names & {"prompt", "stop"}:
            raise ValueError(
                "a persistent program reads its prompts as lines of JSON: {prompt} and {stop} "
                "have no place in command"
            )
        if self.stdin is not None and "prompt" not in names:
            raise ValueError("neither command nor stdin names {prompt}, so it would not be given")
        for name in _OF_OUTPUT if self.persistent else ():
            if getattr(self, name) not in (None, False):
                raise ValueError(f"{name} has no meaning with persistent, which speaks JSON")
        for name in () if self.persistent else self.params:
            if name not in self._names:
                raise ValueError(
                    f"params names {name!r}, which no template names."
                    f"{did_you_mean(name, self._names)}"
                )
        return self


def _lack(text: str, values: Mapping[str, Any]) -> str:
    name = min(template.names(text) - set(values))
    return f"has no value for {{{name}}}: give it in the call or in params"


def _plain(value: SecretStr | str) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the prompt has a lone surrogate at position {error.start}, which is no character"
        ) from None
