"""What the pages say can be done can be done: commands parse, targets and files exist."""

import re
from pathlib import Path

import pytest
import typer
from markdown_it import MarkdownIt

from docs.site.repository import hrefs, is_external, target
from flightdeck.__main__ import app
from tests.docs.command_lines import called_by_place, command_lines, mistake, typed_before_activation
from tests.makefiles import targets
from tests.world import ROOT

pytestmark = pytest.mark.unit

PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md"), *ROOT.glob("[dm]*/CARD.md")]
)
FLIGHTDECK = typer.main.get_command(app)
IDEAS = ROOT / "docs" / "ideas.md"
OURS = r"(benchmarks|components|config|data|deploy|docs|flightdeck|models|operations|pipeline|requirements|tests)"
# Files that a guide has its reader write, and pages that are made when the site is built.
WRITTEN_BY_READERS = {"config/gke.yaml"}
MADE = {f"docs/reference/{page}.md" for page in ("cli", "components", "http-api", "metrics", "settings")}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("flightdeck run", None),
        ("flightdeck run --set 'features.categorical=[a, b]' --no-cache", None),
        ("flightdeck runs list --sort auc --desc", None),
        ("flightdeck alerts test | list [--pending] | deliver", None),
        ("flightdeck stream DIRECTORY [--once | --until-idle SECONDS]", None),
        ("flightdeck models rollback [--to VERSION] --reason 'late in March'", None),
        ("flightdeck predict FILE... -o out.parquet", None),
        ("flightdeck runs list --json | jq .", None),
        ("flightdeck runs", None),
        ("flightdeck runs list --sorted auc", "No such option"),
        ("flightdeck runs lst", "there is no `lst`"),
        ("flightdeck walk", "there is no `walk`"),
        ("flightdeck alerts test | list [--pendign]", "No such option"),
        ("flightdeck run --window", "requires"),
        ("flightdeck run spans", "there is no `spans`"),
        ("flightdeck runs note RUN 'unfinished", "No closing quotation"),
        ("flightdeck kubeflow promote RUN --file build/ci/production.yaml", "`--cron` is missing"),
        ("flightdeck kubeflow promote RUN --cron '0 3 * * 1'", None),
        ("flightdeck kubeflow promote --cron '0 3 * * 1'", "`RUN` is missing"),
        ("flightdeck kubeflow promote RUN ...", None),
        ("flightdeck kubeflow promote ...", None),
        ("flightdeck kubeflow promote", None),
        ("flightdeck models promote --reason '...'", "is missing"),
        ("flightdeck new ../trips --label tipped", "`--from` is missing"),
        ("flightdeck runs note latest", "`TEXT` is missing"),
        ("flightdeck runs compare A", "is missing"),
        ("flightdeck runs compare --json", "is missing"),
        ("flightdeck runs show --help", None),
        ("flightdeck alerts test | list --pending", None),
    ],
)
def test_a_command_line_is_understood_or_not(line, wrong):
    problem = mistake(line, FLIGHTDECK)
    assert problem is None if wrong is None else wrong in (problem or ""), problem


def test_commands_are_found_wherever_a_page_has_code():
    text = "Do `flightdeck run --json`.\n\n    make demo     # all\n\n```console\n$ flightdeck runs \\\n  best\n```\n"
    assert list(command_lines(text)) == ["flightdeck run --json", "make demo", "flightdeck runs best"]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_of_a_page_is_one(page):
    wrong = []
    for line in command_lines(page.read_text("utf-8")):
        program, *rest = line.split()
        if program == "flightdeck" and (problem := mistake(line, FLIGHTDECK)) is not None:
            wrong.append((line, problem))
        if program == "make" and not {word for word in rest if re.fullmatch("[a-z-]+", word)} <= targets():
            wrong.append((line, "no such target"))
        if program == "pytest" and not all((ROOT / word).exists() for word in rest if "/" in word):
            wrong.append((line, "no such file"))
    assert wrong == []


def test_a_page_that_types_a_command_too_early_or_by_its_place_is_noticed():
    early = "    make setup     # once\n    flightdeck run\n    source .venv/bin/activate\n    flightdeck predict 1\n"
    assert typed_before_activation(early) == ["flightdeck run"]
    assert typed_before_activation("    make demo\n\n```text\nflightdeck run\n```\n") == []
    assert typed_before_activation("    flightdeck run\n") == []
    assert called_by_place('`.venv/bin/flightdeck run`, PATH="$PWD/.venv/bin:$PATH"') != []
    assert called_by_place("source .venv/bin/activate, source ../flightdeck/.venv/bin/activate") == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "teaching/new_project/templates/README.md.j2"], ids=name)
def test_commands_are_called_by_name_in_a_shell_that_knows_them(page):
    text = page.read_text("utf-8")
    assert called_by_place(text) == []
    assert typed_before_activation(text) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_a_page_names_exists(page):
    text = page.read_text("utf-8")
    linked = [target(name(page), href) for href in hrefs(text) if not is_external(href)]
    code = [
        child.content
        for token in MarkdownIt("commonmark").enable("table").parse(text)
        for child in token.children or ()
        if child.type == "code_inline" and re.fullmatch(rf"{OURS}/[\w./-]+\.[a-z]+", child.content)
    ]
    named = {path for path in [*linked, *code] if path} - WRITTEN_BY_READERS
    if name(page) == "docs/reference/index.md":
        named -= MADE
    # A page may name files by their place in the folder that it is about.
    folders = (ROOT, page.parent, ROOT / "deploy/kubernetes")
    missing = [path for path in named if not any((folder / path).exists() for folder in folders)]
    assert missing == []


def rows(page: Path) -> list[list[str]]:
    """The cells of all tables that end in a command to see."""
    lines = [line for line in page.read_text("utf-8").splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in split if not set("".join(row)) <= set("-: ")]


def test_every_idea_is_there_once_and_has_a_file_and_a_command():
    ideas = [row for row in rows(IDEAS) if row[0] != "idea"]
    assert len({idea for idea, _, _ in ideas}) == len(ideas) > 50
    for idea, where, how in ideas:
        paths = [target("docs/ideas.md", href) for href in hrefs(where)]
        assert paths, idea
        assert all(path and (ROOT / path).is_file() for path in paths), idea
        assert list(command_lines(how)) or how == "`flightdeck run`", idea


@pytest.mark.parametrize(
    "page", [page for page in sorted((ROOT / "docs/explanation").glob("*.md")) if page.stem != "index"], ids=name
)
def test_every_explanation_leads_to_code_and_shows_it(page):
    text = page.read_text("utf-8")
    files = [path for href in hrefs(text) if (path := target(name(page), href)) and not path.endswith(".md")]
    assert files
    assert list(command_lines(text))
