"""A step that takes one bare word and short flags: `inv env.logs postgres -f`, `inv db.query 'select 1'`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from invoke.parser import Argument

from ._graph import Step


class WordStep(Step):
    """A step of which the parameter `word` may be given without its flag; `short` gives parameters a letter.

    Invoke has no optional positionals: one with a default never takes a word, one without must be there. So the
    parameter is declared as one where the command line has such a word, and is an option with a default elsewhere.
    A task's name is no such word, unless the word is `needed`: then it is what the step works on.
    """

    def __init__(
        self,
        body: Callable[..., Any],
        *,
        word: str,
        help: Mapping[str, str],
        short: Mapping[str, str] | None = None,
        needed: bool = False,
        **kwargs: Any,
    ) -> None:
        flag = word.rstrip("_")  # as Invoke shows a name that would be a keyword of Python
        super().__init__(body, help={**help, flag: f"{help[flag]}; also without the flag"}, **kwargs)
        self.word = word
        self.short = dict(short or {})
        self.needed = needed

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        arguments = super().get_arguments(ignore_unknown_help)
        for argument in arguments:
            argument.names = (*argument.names, *filter(None, [self.short.get(argument.name or "")]))
        if any(map(self._is_word, bare_words(sys.argv[1:], self.name, arguments))):
            given = next(argument for argument in arguments if argument.name == self.word)
            given.positional, given.default = True, None
        return arguments

    def _is_word(self, word: str) -> bool:
        from . import ns

        return self.needed or word not in ns.task_names


def bare_words(words: Sequence[str], task: str, arguments: Iterable[Argument]) -> Iterator[str]:
    """Yield the first word behind each `task` that is neither a flag nor the value of one.

    A single dash is a word: stdin or stdout.
    """
    places = [place for place, word in enumerate(words) if word.rpartition(".")[2].replace("-", "_") == task]
    if places:
        flags = {f"{'-' if len(name) == 1 else '--'}{name}": a.takes_value for a in arguments for name in a.names}
        yield from filter(None, (_first_word(words[place + 1 :], flags) for place in places))


def _first_word(words: Sequence[str], flags: Mapping[str, bool]) -> str:
    takes_value = False
    for word in words:
        if not takes_value and (word == "-" or not word.startswith("-")):
            return word
        takes_value = not takes_value and flags.get(_last_flag(word, flags), False)
    return ""


def _last_flag(word: str, flags: Mapping[str, bool]) -> str:
    """Return the flag that the next word may belong to: of -fn it is -n, of -n5 none."""
    if word.startswith("--") or len(word) <= 2:
        return word
    return "" if flags.get(word[:2]) else f"-{word[-1]}"


def word_step(**kwargs: Any) -> Callable[[Callable[..., Any]], WordStep]:
    """Mark a function as a step that takes a bare word: `@word_step(word="service", short={"follow": "f"}, …)`."""
    return lambda body: WordStep(body, **kwargs)
