"""``flightdeck lab``: the labs that teach MLOps by running it, and what of them a student has solved."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from flightdeck.console import answer, console, print_json, shown, table, typed, working
from flightdeck.options import App, Json

app = App(help="Labs: start one, check your answers, see the solution.", no_args_is_help=True)

ROOT = Path(__file__).resolve().parent.parent / "notebooks"

Name = Annotated[str, typer.Argument(metavar="LAB", help="A lab's name, its number, or how its name begins.")]
Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="Your folder of labs.", file_okay=False)]
DEFAULT_FOLDER = Path("labs")


def _command(name: str, lab: str, folder: Path) -> str:
    return shlex.join(["flightdeck", "lab", name, lab, *([] if folder == DEFAULT_FOLDER else [str(folder)])])


@app.command("list")
def list_labs(folder: Folder = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """List the labs, and which of their exercises you have solved."""
    from teaching.labs.catalogue import labs
    from teaching.labs.student_folder import StudentFolder

    mine = StudentFolder(folder)
    progress = mine.progress()
    entries = [
        {
            "lab": lab.name,
            "title": lab.title,
            "minutes": lab.minutes,
            "exercises": lab.exercises,
            "solved": sum(bool(exercise.get("passed")) for exercise in progress.get(lab.name, {}).values()),
            "started": mine.notebook(lab).is_file(),
        }
        for lab in labs(ROOT)
    ]
    if as_json:
        print_json(entries)
        return
    rows = []
    for entry in entries:
        solved = f"{entry['solved']} of {len(entry['exercises'])}" if entry["started"] else ""
        rows.append((entry["lab"], entry["title"], str(entry["minutes"]), solved))
    table(["lab", "about", "minutes", "solved"], rows)


@app.command()
def start(name: Name, folder: Folder = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """Write the notebook of a lab into DIR/LAB. Existing files are never overwritten."""
    from teaching.labs.catalogue import find
    from teaching.labs.student_folder import StudentFolder

    lab = find(ROOT, name)
    notebook = StudentFolder(folder).start(lab)
    text = (
        f"{lab.title} ({lab.minutes} minutes): {shown(notebook)}\n"
        f"Open it:         {typed(Path(sys.executable).with_name('jupyter'))} lab {typed(notebook)}\n"
        f"Check answers:   {_command('check', lab.name[:2], folder)}"
    )
    answer({"lab": lab.name, "notebook": str(notebook)}, text, as_json)


@app.command()
def check(
    name: Name,
    folder: Folder = DEFAULT_FOLDER,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds that one cell may take.")] = 300,
    as_json: Json = False,
) -> None:
    """Run your notebook from top to bottom against all tests, hidden ones too. Exit code 1 if an answer fails."""
    from teaching.labs.catalogue import LabError, find
    from teaching.labs.check import check as grade
    from teaching.labs.student_folder import StudentFolder

    lab, mine = find(ROOT, name), StudentFolder(folder)
    notebook = mine.notebook(lab)
    if not notebook.is_file():
        begin = _command("start", lab.name, folder)
        raise LabError(f"The lab {lab.name} was not started in {folder}; begin with: {begin}")
    mine.progress()  # a damaged record is said before minutes are spent
    with working(quiet=as_json or not sys.stdout.isatty()) as progress:
        verdicts = grade(lab, notebook, progress.note, cell_seconds=timeout)
    mine.record(lab, verdicts)
    passed = all(verdict.passed for verdict in verdicts)
    if as_json:
        print_json({"lab": lab.name, "passed": passed, "exercises": verdicts})
    on = console(quiet=as_json)
    for verdict in verdicts:
        mark = "[green]passed[/]" if verdict.passed else "[bold red]failed[/]"
        on.print(f"  {mark}  {verdict.exercise}", markup=True, end="")
        on.print(f": {verdict.reason}" if verdict.reason else "", markup=False)
    raise typer.Exit(0 if passed else 1)


@app.command()
def solution(name: Name, folder: Folder = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """Write the solution of a lab, with its hidden tests, beside your notebook."""
    from teaching.labs.catalogue import find
    from teaching.labs.student_folder import StudentFolder

    lab = find(ROOT, name)
    notebook = StudentFolder(folder).show_solution(lab)
    answer({"lab": lab.name, "solution": str(notebook)}, shown(notebook), as_json)


@app.command()
def course(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The course folder; must not be there yet.")],
    as_json: Json = False,
) -> None:
    """Write a course folder for nbgrader, with the sources of all labs. For teachers."""
    from teaching.labs.catalogue import labs
    from teaching.labs.course import make

    notebooks = make(labs(ROOT), folder, (lambda text: None) if as_json else typer.echo)
    # nbgrader itself calls programs of its environment by name, so the environment has to be active.
    text = (
        f"Release one:   source {typed(Path(sys.executable).with_name('activate'))}\n"
        f"               cd {typed(folder)} && nbgrader generate_assignment {notebooks[0].stem}"
    )
    answer({"course": str(folder), "sources": [str(notebook) for notebook in notebooks]}, text, as_json)


@app.command()
def prove(name: Name, as_json: Json = False) -> None:
    """Run a lab with its solution, and every exercise with its stub and wrong answers too. For authors.

    Exit code 1 if an answer passes that should fail, fails that should pass, or fails for another reason.
    """
    from teaching.labs.catalogue import find
    from teaching.labs.proof import prove as run

    lab = find(ROOT, name)
    with working(quiet=as_json) as progress:
        answers = run(lab, progress.note)
    if as_json:
        print_json(answers)
    on = console(quiet=as_json)
    for tried in answers:
        mark = "[green]as expected[/]" if tried.as_expected else "[bold red]NOT AS EXPECTED[/]"
        on.print(f"  {mark}  {tried.exercise}: {tried.answer}", markup=True)
        if tried.told:
            on.print(f"      {tried.told}", markup=False)
    raise typer.Exit(0 if all(tried.as_expected for tried in answers) else 1)
