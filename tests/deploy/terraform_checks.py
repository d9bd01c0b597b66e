"""What can be known of a Terraform configuration without Terraform, its providers or an account.

Each check takes a folder of .tf files and returns one sentence per problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

REFERENCE = re.compile(r"(?<![\w.\"-])(var|local|module|data|google_\w+)\.([a-z_][\w-]*)(?:\.([a-z_][\w-]*))?")
INTERPOLATION = re.compile(r"\$\{([^}]*)\}")


def parse(folder: Path) -> dict[str, Mapping[str, Any]]:
    """The blocks of each file, by the file's name.

    Raises:
        Exception: python-hcl2 cannot parse a file.
    """
    return {path.name: _loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.tf"))}


def references(folder: Path) -> list[str]:
    """Everything that an expression names is declared."""
    files = parse(folder)
    known = {name for name, _ in declared(files)}
    return [
        f"{file}: {name} is not declared"
        for file, blocks in files.items()
        for name in sorted(set(_named(blocks)))
        if name not in known
    ]


def unused(folder: Path) -> list[str]:
    """Every variable, local value and data source is named by something."""
    files = parse(folder)
    named: set[str] = set()
    for blocks in files.values():
        # A variable's own validation names it, which is no use of it.
        named.update(_named({kind: body for kind, body in blocks.items() if kind != "variable"}))
    return [
        f"{file}: {name} is never used"
        for name, file in declared(files)
        if name.startswith(("var.", "local.", "data.")) and name not in named
    ]


def documentation(folder: Path) -> list[str]:
    """Every variable has a type and a description, every output a description."""
    problems = []
    for file, blocks in parse(folder).items():
        for kind, needed in (("variable", ("type", "description")), ("output", ("value", "description"))):
            for block in blocks.get(kind, []):
                for name, body in _named_blocks(block):
                    problems += [f"{file}: {kind} {name} has no {each}" for each in needed if not body.get(each)]
    return problems


def duplicates(folder: Path) -> list[str]:
    """Nothing is declared twice, in one file or in two."""
    names = [name for name, _ in declared(parse(folder))]
    return [f"{name} is declared twice" for name in sorted({name for name in names if names.count(name) > 1})]


def formatting(folder: Path) -> list[str]:
    """The part of ``terraform fmt`` that a person gets wrong: indentation, and `=` in one column within a paragraph.

    Neither heredocs nor comments of several lines are understood; the configuration has none.
    """
    problems = []
    for path in sorted(folder.glob("*.tf")):
        problems += [f"{path.name}:{line}: {what}" for line, what in _misformatted(path.read_text(encoding="utf-8"))]
    return problems


ALL = (references, unused, documentation, duplicates, formatting)


def declared(files: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Every name that an expression may use, and the file that declares it."""
    for file, blocks in files.items():
        for block in blocks.get("variable", []):
            yield from ((f"var.{name}", file) for name, _ in _named_blocks(block))
        for block in blocks.get("locals", []):
            yield from ((f"local.{name}", file) for name in block if not name.startswith("__"))
        for block in blocks.get("module", []):
            yield from ((f"module.{name}", file) for name, _ in _named_blocks(block))
        for kind, prefix in (("resource", ""), ("data", "data.")):
            for block in blocks.get(kind, []):
                for type_, named in _named_blocks(block):
                    yield from ((f"{prefix}{type_}.{name}", file) for name, _ in _named_blocks(named))


@cache
def _loads(text: str) -> Mapping[str, Any]:
    return hcl2.loads(text)


def _named_blocks(block: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((name.strip('"'), body) for name, body in block.items() if not name.startswith("__"))


def _named(value: Any) -> Iterator[str]:
    """Every reference in the expressions of a parsed block."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _named(key)
            yield from _named(each)
    elif isinstance(value, list):
        for each in value:
            yield from _named(each)
    elif isinstance(value, str):
        for expression in INTERPOLATION.findall(value) if value.startswith('"') else [value]:
            for kind, first, second in REFERENCE.findall(expression):
                yield f"data.{first}.{second}" if kind == "data" else f"{kind}.{first}"


def _misformatted(text: str) -> Iterator[tuple[int, str]]:
    lines = text.splitlines()
    if not text.endswith("\n") or text.endswith("\n\n"):
        yield len(lines), "the file must end with exactly one line break"
    brackets: list[int] = []  # how many were opened by each line that is not closed yet: one level of indentation
    paragraph: list[tuple[int, int]] = []
    for number, line in enumerate([*lines, ""], start=1):
        code = re.sub(r'"(?:\\.|[^"\\])*"', lambda match: "x" * len(match[0]), line).split(" #")[0]
        code = "" if code.lstrip().startswith("#") else code
        opened = sum(code.count(each) for each in "{([") - sum(code.count(each) for each in "})]")
        _close(brackets, -opened)
        if line != line.rstrip() or "\t" in line:
            yield number, "spaces at the end of the line, or a tab"
        if line.strip() and len(line) - len(line.lstrip()) != 2 * len(brackets):
            yield number, f"must be indented by {2 * len(brackets)} spaces"
        if opened > 0:
            brackets.append(opened)
        attribute = re.match(r"\s*(?:[\w-]+|x+|\([^=]*\))( *)= ", code)
        if attribute and opened == 0:
            paragraph.append((number, attribute.end() - 2))
            continue
        yield from _unaligned(paragraph)
        paragraph = []
        if attribute and len(attribute[1]) != 1:
            yield number, "one space before ="


def _close(brackets: list[int], count: int) -> None:
    while count > 0 and brackets:
        taken = min(count, brackets[-1])
        count -= taken
        brackets[-1] -= taken
        if not brackets[-1]:
            brackets.pop()


def _unaligned(paragraph: list[tuple[int, int]]) -> Iterator[tuple[int, str]]:
    columns = {column for _, column in paragraph}
    if len(columns) > 1:
        yield paragraph[0][0], f"= is in columns {sorted(columns)} of one paragraph"
