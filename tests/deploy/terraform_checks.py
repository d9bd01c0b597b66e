"""What can be known of a Terraform configuration without Terraform, its providers or an account.

Each check takes a folder of .tf files and returns one sentence per problem.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hcl2.query import BlockView, DocumentView
from hcl2.rules.indexing import GetAttrExprTermRule

NAME = re.compile(r"(var|local|module|google_\w+)\.[\w-]+|data\.\w+\.[\w-]+")
# What comes before the names that a block declares.
PREFIXES = {"variable": "var.", "module": "module.", "resource": "", "data": "data."}


def blocks(folder: Path) -> list[tuple[str, BlockView]]:
    """Every block, and the name of its file.

    Raises:
        Exception: python-hcl2 cannot parse a file.
    """
    return [
        (path.name, block)
        for path in sorted(folder.glob("*.tf"))
        for block in _parsed(path.read_text("utf-8")).blocks()
        if isinstance(block, BlockView)
    ]


def references(folder: Path) -> list[str]:
    """Everything that an expression names is declared."""
    known = {name for _, block in blocks(folder) for name in declared(block)}
    return [
        f"{file}: {name} is not declared"
        for file, block in blocks(folder)
        for name in sorted(_named(block))
        if name not in known
    ]


def unused(folder: Path) -> list[str]:
    """Every variable, local value and data source is named by something."""
    # A variable's own validation names it, which is no use of it.
    named = {name for _, block in blocks(folder) if block.block_type != "variable" for name in _named(block)}
    return [
        f"{file}: {name} is never used"
        for file, block in blocks(folder)
        for name in declared(block)
        if name.startswith(("var.", "local.", "data.")) and name not in named
    ]


def documentation(folder: Path) -> list[str]:
    """Every variable has a type and a description, every output a description."""
    needed = {"variable": ("type", "description"), "output": ("value", "description")}
    return [
        f"{file}: {block.block_type} {block.name_labels[0]} has no {attribute}"
        for file, block in blocks(folder)
        for attribute in needed.get(block.block_type, ())
        if block.attribute(attribute) is None
    ]


def duplicates(folder: Path) -> list[str]:
    counts = Counter(name for _, block in blocks(folder) for name in declared(block))
    return [f"{name} is declared twice" for name, count in counts.items() if count > 1]


def formatting(folder: Path) -> list[str]:
    """The part of ``terraform fmt`` that a person gets wrong: indentation, and `=` in one column within a paragraph.

    Neither heredocs nor comments of several lines are understood; the configuration has none.
    """
    problems = []
    for path in sorted(folder.glob("*.tf")):
        problems += [f"{path.name}:{line}: {what}" for line, what in _misformatted(path.read_text(encoding="utf-8"))]
    return problems


ALL = (references, unused, documentation, duplicates, formatting)


def declared(block: BlockView) -> list[str]:
    if block.block_type == "locals":
        return [f"local.{attribute.name}" for attribute in block.attributes()]
    if block.block_type not in PREFIXES:
        return []
    return [PREFIXES[block.block_type] + ".".join(block.name_labels)]


@cache
def _parsed(text: str) -> DocumentView:
    return DocumentView.parse(text)


def _named(block: BlockView) -> set[str]:
    return {name for node in block.find_all(GetAttrExprTermRule) if NAME.fullmatch(name := node.to_hcl())}


def _misformatted(text: str) -> Iterator[tuple[int, str]]:
    lines = text.splitlines()
    if not text.endswith("\n") or text.endswith("\n\n"):
        yield len(lines), "the file must end with exactly one line break"
    brackets: list[int] = []  # the lines of those that are open; however many a line opened, it is one level
    paragraph: list[tuple[int, int]] = []
    for number, line in enumerate([*lines, ""], start=1):
        code = re.sub(r'"(?:\\.|[^"\\])*"', lambda match: "x" * len(match[0]), line).split(" #")[0]
        code = "" if code.lstrip().startswith("#") else code
        opened = len(re.findall(r"[{(\[]", code)) - len(re.findall(r"[})\]]", code))
        del brackets[len(brackets) + min(opened, 0) :]
        indentation = 2 * len(set(brackets))
        brackets += [number] * opened
        if line != line.rstrip() or "\t" in line:
            yield number, "spaces at the end of the line, or a tab"
        if line.strip() and len(line) - len(line.lstrip()) != indentation:
            yield number, f"must be indented by {indentation} spaces"
        attribute = re.match(r"\s*(?:[\w-]+|x+|\([^=]*\))( *)= ", code)
        if attribute and opened == 0:
            paragraph.append((number, attribute.end() - 2))
            continue
        columns = sorted({column for _, column in paragraph})
        if len(columns) > 1:
            yield paragraph[0][0], f"= is in columns {columns} of one paragraph"
        paragraph = []
        if attribute and len(attribute[1]) != 1:
            yield number, "one space before ="
