"""Command lines in Markdown, and whether the command line understands them."""

from __future__ import annotations

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
_HELP = ("-h", "--help")


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
    """What the command line would not understand of a line that begins with ``flightdeck``, or None.

    Values are not looked at: they may be placeholders. ``[--option]`` is an option that may be left out, and ``a | b``
    a choice between two commands of the same group or between two options. A command with nothing behind it is its
    name, as a sentence uses it; with anything else, all that it requires must be there, unless ``...`` stands for it.

    Args:
        line: the line.
        program: the command that it begins with, as `typer.main.get_command` makes it.
    """
    try:
        tokens = [_unbracketed(token) for token in shlex.split(line)]
    except ValueError as error:
        return str(error)
    group = program
    while len(tokens) > 1 and getattr(group, "commands", {}).get(tokens[1], None) is not None:
        if not hasattr(group.commands[tokens[1]], "commands"):
            break
        group, tokens = group.commands[tokens[1]], tokens[1:]
    for choice in _choices(tokens[1:], set(getattr(group, "commands", ()))):
        if (wrong := _wrong(group, choice)) is not None:
            return wrong
    return None


def _unbracketed(token: str) -> str:
    """A token without the brackets around what may be left out; those of a list of values stay."""
    token = token.removeprefix("[")
    return token.removesuffix("]") if token.count("]") > token.count("[") else token


def _choices(tokens: list[str], commands: set[str]) -> Iterator[list[str]]:
    """The commands that a line stands for, up to where another program begins."""
    current: list[str] = []
    for index, token in enumerate(tokens):
        if token in ("&&", "||", ";", ">", ">>", "&"):
            break
        if token == "|":
            after = tokens[index + 1] if index + 1 < len(tokens) else ""
            if after.startswith("-"):
                continue
            if after not in commands:
                break
            yield current
            current = []
            continue
        current.append(token)
    yield current


def _wrong(command: Any, tokens: list[str]) -> str | None:
    try:
        given, rest, _ = command.make_parser(typer.Context(command)).parse_args(list(tokens))
    except typer.TyperException as error:
        return str(error)
    if all(each in _ETC for each in rest):
        return _missing(command, given) if tokens and not rest and not {*_HELP}.intersection(tokens) else None
    inner = getattr(command, "commands", {}).get(rest[0])
    return f"there is no `{rest[0]}`" if inner is None else _wrong(inner, rest[1:])


def _missing(command: Any, given: dict[str, Any]) -> str | None:
    if any(given.get(each.name) in _ETC for each in command.params if each.param_type_name == "argument"):
        return None
    for each in command.params:
        if each.required and not given.get(each.name):
            called = each.opts[0] if each.param_type_name == "option" else each.metavar or each.name.upper()
            return f"`{called}` is missing"
    return None
