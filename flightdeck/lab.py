"""``flightdeck lab``: the labs that teach MLOps by running it, and what of them a student has solved."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flightdeck.options import Json

app = typer.Typer(help="Labs: start one, check your answers, see the solution.", no_args_is_help=True)

ROOT = Path(__file__).resolve().parent.parent / "notebooks"

Name = Annotated[str, typer.Argument(metavar="LAB", help="A lab's name, its number, or how its name begins.")]
Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="Your folder of labs.", file_okay=False)]
DEFAULT_FOLDER = Path("labs")


def _command(name: str, lab: str, folder: Path) -> str:
    """As it is typed, with the folder unless it is the usual one."""
    return shlex.join(["flightdeck", "lab", name, lab, *([] if folder == DEFAULT_FOLDER else [str(folder)])])


@app.command("list")
def list_labs(folder: Folder = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """List the labs, and which of their exercises you have solved."""
    from flightdeck.console import table
    from teaching.labs.catalogue import labs
    from teaching.labs.student_folder import StudentFolder

    mine = StudentFolder(folder)
    solved = {
        name: sum(bool(exercise.get("passed")) for exercise in exercises.values())
        for name, exercises in mine.progress().items()
    }
    if as_json:
        entries = [
            {
                "lab": lab.name,
                "title": lab.title,
                "minutes": lab.minutes,
                "exercises": list(lab.exercises),
                "solved": solved.get(lab.name, 0),
                "started": mine.notebook(lab).is_file(),
            }
            for lab in labs(ROOT)
        ]
        typer.echo(json.dumps(entries, indent=2))
        return
    table(
        ["lab", "about", "minutes", "solved"],
        [
            (
                lab.name,
                lab.title,
                str(lab.minutes),
                f"{solved.get(lab.name, 0)} of {len(lab.exercises)}" if mine.notebook(lab).is_file() else "",
            )
            for lab in labs(ROOT)
        ],
    )


@app.command()
def start(name: Name, folder: Folder = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """Write the notebook of a lab into DIR/LAB. Existing files are never overwritten."""
    from flightdeck.console import shown, typed
    from teaching.labs.catalogue import find
    from teaching.labs.student_folder import StudentFolder

    lab = find(ROOT, name)
    notebook = StudentFolder(folder).start(lab)
    if as_json:
        typer.echo(json.dumps({"lab": lab.name, "notebook": str(notebook)}))
        return
    typer.echo(f"{lab.title} ({lab.minutes} minutes): {shown(notebook)}")
    typer.echo(f"Open it:         {typed(Path(sys.executable).with_name('jupyter'))} lab {typed(notebook)}")
    typer.echo(f"Check answers:   {_command('check', lab.name[:2], folder)}")


@app.command()
def check(
    name: Name,
    folder: Folder = DEFAULT_FOLDER,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds that one cell may take.")] = 300,
    as_json: Json = False,
) -> None:
    """Run your notebook from top to bottom against all tests, hidden ones too. Exit code 1 if an answer fails."""
    from flightdeck.console import Progress, console
    from teaching.labs.catalogue import LabError, find
    from teaching.labs.check import check as grade
    from teaching.labs.student_folder import StudentFolder

    lab, mine = find(ROOT, name), StudentFolder(folder)
    notebook = mine.notebook(lab)
    if not notebook.is_file():
        begin = _command("start", lab.name, folder)
        raise LabError(f"The lab {lab.name} was not started in {folder}; begin with: {begin}")
    mine.progress()  # a damaged record is said before minutes are spent
    on = console()
    on.quiet = as_json
    progress = Progress(on)
    try:
        verdicts = grade(lab, notebook, progress.note if on.is_terminal else lambda text: None, cell_seconds=timeout)
    finally:
        progress.close()
    mine.record(lab, verdicts)
    passed = all(verdict.passed for verdict in verdicts)
    if as_json:
        document = {"lab": lab.name, "passed": passed, "exercises": [asdict(verdict) for verdict in verdicts]}
        typer.echo(json.dumps(document, indent=2))
    for verdict in verdicts:
        mark = "[green]passed[/]" if verdict.passed else "[bold red]failed[/]"
        on.print(f"  {mark}  {verdict.exercise}", markup=True, end="")
        on.print(f": {verdict.reason}" if verdict.reason else "", markup=False)
    raise typer.Exit(0 if passed else 1)


@app.command()
def solution(name: Name, folder: Folder = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """Write the solution of a lab, with its hidden tests, beside your notebook."""
    from flightdeck.console import shown
    from teaching.labs.catalogue import find
    from teaching.labs.student_folder import StudentFolder

    lab = find(ROOT, name)
    notebook = StudentFolder(folder).show_solution(lab)
    typer.echo(json.dumps({"lab": lab.name, "solution": str(notebook)}) if as_json else shown(notebook))


@app.command()
def course(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The course folder; must not be there yet.")],
    as_json: Json = False,
) -> None:
    """Write a course folder for nbgrader, with the sources of all labs. For teachers."""
    from flightdeck.console import typed
    from teaching.labs.catalogue import labs
    from teaching.labs.course import make

    notebooks = make(labs(ROOT), folder, (lambda text: None) if as_json else typer.echo)
    if as_json:
        typer.echo(json.dumps({"course": str(folder), "sources": [str(notebook) for notebook in notebooks]}, indent=2))
        return
    # nbgrader itself calls programs of its environment by name, so the environment has to be active.
    typer.echo(f"Release one:   source {typed(Path(sys.executable).with_name('activate'))}")
    typer.echo(f"               cd {typed(folder)} && nbgrader generate_assignment {notebooks[0].stem}")


@app.command()
def prove(name: Name, as_json: Json = False) -> None:
    """Run a lab with its solution, and every exercise with its stub and wrong answers too. For authors.

    Exit code 1 if an answer passes that should fail, fails that should pass, or fails for another reason.
    """
    from flightdeck.console import Progress, console
    from teaching.labs.catalogue import find
    from teaching.labs.proof import prove as run

    lab = find(ROOT, name)
    on = console()
    on.quiet = as_json
    progress = Progress(on)
    try:
        trials = run(lab, progress.note)
    finally:
        progress.close()
    if as_json:
        typer.echo(json.dumps([asdict(trial) for trial in trials], indent=2))
    for trial in trials:
        mark = "[green]as expected[/]" if trial.as_expected else "[bold red]NOT AS EXPECTED[/]"
        on.print(f"  {mark}  {trial.exercise}: {trial.answer}", markup=True)
        if trial.told:
            on.print(f"      {trial.told}", markup=False)
    raise typer.Exit(0 if all(trial.as_expected for trial in trials) else 1)
