"""Command lines in Markdown, and whether the command line understands them."""

import itertools
import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer
from markdown_it import MarkdownIt

PROGRAMS = ("flightdeck", "make", "pytest")
# In the checkout, or in a project of one's own beside it.
_ACTIVATION = re.compile(r"source (\.\./flightdeck/)?\.venv/bin/activate")
# What a person reads as "and so on".
_ETC = ("...", "\u2026")


def command_lines(markdown: str) -> Iterator[str]:
    """Every command of ours in the code of a Markdown text: in blocks, and between backticks."""
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type in ("fence", "code_block"):
            yield from filter(_is_ours, map(_bare, re.sub(r"\s*\\\n\s*", " ", token.content).splitlines()))
        for child in token.children or ():
            if child.type == "code_inline" and " " in child.content and _is_ours(line := _bare(child.content)):
                yield line


def typed_before_activation(markdown: str) -> list[str]:
    """Commands of ours that a page has its reader type after setting up, in a shell that does not know them yet."""
    blocks = [
        token.content
        for token in MarkdownIt("commonmark").parse(markdown)
        if token.type == "code_block" or (token.type == "fence" and token.info != "text")
    ]
    lines = [_bare(line) for block in blocks for line in block.splitlines()]
    if not any(re.match(r"make (setup|setup-dev|demo|labs)\b", line) for line in lines):
        return []
    before = itertools.takewhile(lambda line: not _ACTIVATION.match(line), lines)
    return [line for line in before if line.split(" ")[0] in ("flightdeck", "pytest")]


def called_by_place(markdown: str) -> list[str]:
    """Programs of the environment that a text calls by their place; only activating it does that."""
    return re.findall(r"\S*\.venv/bin\S*", _ACTIVATION.sub("", markdown))


def _bare(line: str) -> str:
    """A line without prompt and what a person says about it."""
    line = line.strip().removeprefix("$ ")
    return re.split(r"\s+#\s|\s{3,}", line)[0].strip()


def _is_ours(line: str) -> bool:
    # "flightdeck -> operations" is about packages.
    return line.split(" ")[0] in PROGRAMS and " -> " not in line


def mistake(line: str, program: Any) -> str | None:
    """What a program, as `typer.main.get_command` makes it, would not understand of a line that calls it, or None.

    Values are not looked at: they may be placeholders. ``[--option]`` is an option that may be left out, and ``a | b``
    a choice between two commands of the same group or between two options. A command with nothing behind it is its
    name, as a sentence uses it; with anything else, all that it requires must be there, unless ``...`` stands for it.
    """
    try:
        tokens = [_unbracketed(token) for token in shlex.split(line)]
    except ValueError as error:
        return str(error)
    group = program
    while len(tokens) > 1 and hasattr(inner := group.commands.get(tokens[1]), "commands"):
        group, tokens = inner, tokens[1:]
    mistakes = (_wrong(group, choice) for choice in _choices(tokens[1:], {*group.commands}))
    return next(filter(None, mistakes), None)


def _unbracketed(token: str) -> str:
    """A token without the brackets around what may be left out; those of a list of values stay."""
    token = token.removeprefix("[")
    return token.removesuffix("]") if token.count("]") > token.count("[") else token


def _choices(tokens: list[str], commands: set[str]) -> Iterator[list[str]]:
    """The commands that a line stands for, up to where another program begins."""
    tokens = list(itertools.takewhile(lambda token: token not in ("&&", "||", ";", ">", ">>", "&>", "&"), tokens))
    current: list[str] = []
    for token, after in itertools.pairwise([*tokens, ""]):
        if token != "|":
            current.append(token)
        elif after in commands:
            yield current
            current = []
        elif not after.startswith("-"):
            break
    yield current


def _wrong(command: Any, tokens: list[str]) -> str | None:
    try:
        given, rest, _ = command.make_parser(typer.Context(command)).parse_args(list(tokens))
    except typer.TyperException as error:
        return str(error)
    if not all(token in _ETC for token in rest):
        inner = getattr(command, "commands", {}).get(rest[0])
        return f"there is no `{rest[0]}`" if inner is None else _wrong(inner, rest[1:])
    arguments = [given.get(parameter.name) for parameter in command.params if parameter.param_type_name == "argument"]
    if not tokens or {"-h", "--help"} & {*tokens} or any(value in _ETC for value in (*rest, *arguments)):
        return None
    for parameter in command.params:
        if parameter.required and not given.get(parameter.name):
            option = parameter.param_type_name == "option"
            called = parameter.opts[0] if option else parameter.metavar or parameter.name.upper()
            return f"`{called}` is missing"
    return None
