"""Writes the site: a page of all runs, two of each run, those of what came after, and what they share, once."""

from __future__ import annotations

import dataclasses
import functools
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import itables
import jinja2
import ml_metadata
import vl_convert
from markupsafe import Markup

import storage
from errors import FlightdeckError
from ledger import formats
from ledger.runs import Runs
from operations.loop.replay.result import Result
from operations.report import card as cards
from operations.report import index, lineage, monitoring, pages, replays
from operations.report.evidence import EvidenceReader
from operations.report.monitoring import ServingHistory

# By this file a folder is known to be ours, so that no other is ever replaced.
MARK = ".flightdeck-report"
_HERE = Path(__file__).parent
_LONG_NAME = 12
_EXPORT = re.compile(r"export\{(?P<names>[^}]*)\}")


@dataclasses.dataclass(frozen=True)
class Site:
    """What was written.

    Attributes:
        runs: those that have a page, newest first.
        listed: how many runs the first page lists.
        bytes: of all files.
        largest: bytes of the largest run's pages.
        missing: run -> section -> why it is not there.
        further: pages that are not about a run: title -> file.
    """

    index: Path
    runs: tuple[str, ...]
    listed: int
    bytes: int
    largest: int
    missing: Mapping[str, Mapping[str, str]]
    further: Mapping[str, str]


def write(
    store: ml_metadata.MetadataStore,
    output: Path,
    *,
    name: str,
    place: str,
    newest: int,
    model_card: Path | None = None,
    roles: Mapping[str, str] | None = None,
    payloads: Path | None = None,
    history: ServingHistory | None = None,
    played: Sequence[Result] = (),
    progress: Callable[[int, int, str], None] = lambda done, of, run: None,
) -> Site:
    """Writes the site, whole or not at all; an older one of the same place is replaced: in a bucket, file by file.

    Args:
        store: from `ledger.opening.open_readonly`.
        output: the folder to write.
        name: of the use case.
        place: of the metadata store, as people call it.
        newest: how many runs get pages of their own, the newest.
        model_card: Markdown about what the model is for.
        roles: column -> what it is, such as ``label``.
        payloads: folder of a server's log.
        history: what was seen of the served versions.
        played: the replays of the workspace.
        progress: is told how many pages of how many are done, and the next run.

    Raises:
        FlightdeckError: the folder holds something else, or cannot be written to.
        LedgerError: the store cannot answer.
    """
    _check(output)
    bucket = storage.is_bucket(output)
    runs = Runs(store)
    records = runs.all()
    chosen = list(reversed(records))[:newest]
    links = {record.run_id: f"runs/{_folder(record.run_id)}/index.html" for record in chosen}
    text = _card(model_card)
    reader = EvidenceReader(store, records, payloads)
    further = _further(history, played)
    site = {
        "name": name,
        "written": formats.moment(datetime.now(UTC)),
        "store": place,
        "pages": {title: file for title, file, _, _ in further},
    }
    templates = _templates()

    def page(file: Path, template: str, content: Mapping[str, Any], root: str = "") -> None:
        html = templates.get_template(f"{template}.html.j2").render(site=site, root=root, **content)
        file.write_text(html, encoding="utf-8")

    missing: dict[str, Mapping[str, str]] = {}
    sizes: list[int] = []
    try:
        storage.make_folder(output.parent)
        beside = None if bucket else output.parent
        with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=beside) as temporary:
            new = Path(temporary) / "site"
            new.mkdir()
            for done, record in enumerate(chosen):
                progress(done, len(chosen), record.run_id)
                evidence = reader.evidence(record)
                folder = new / "runs" / _folder(record.run_id)
                folder.mkdir(parents=True)
                about = pages.run(evidence, records, links, roles or {}, lineage.whole(store, record))
                page(folder / "index.html", "run", about, "../../")
                page(folder / "card.html", "card", pages.card(evidence, text, name), "../../")
                missing[record.run_id] = evidence.missing
                sizes.append(_size(folder))
            progress(len(chosen), len(chosen), "")
            page(new / "index.html", "index", index.page(records, links, runs.unreadable))
            for _, file, template, content in further:
                page(new / file, template, content)
            _assets(new / "assets")
            (new / MARK).write_text("Written by `flightdeck report`, which replaces this whole folder.\n")
            written = _size(new)
            if bucket:
                # The first page last: what it leads to is there by then.
                storage.mirror(new, output, last="index.html")
            else:
                _swap(new, output, Path(temporary) / "old")
    except OSError as error:
        raise FlightdeckError(f"The report cannot be written to {output} ({storage.why(error)}).") from None
    return Site(
        output / "index.html", tuple(links), len(records), written, max(sizes, default=0), missing, site["pages"]
    )


def _further(history: ServingHistory | None, played: Sequence[Result]) -> list[tuple[str, str, str, dict[str, Any]]]:
    """The pages that are not about a run, each as title, file, template and content."""
    further = [
        (f"Replay {result.name}", f"replay-{_folder(result.name)}.html", "replay", replays.page(result))
        for result in played
    ]
    if history is not None and not history.empty:
        further.insert(0, ("Monitoring", monitoring.FILE, "monitoring", monitoring.page(history)))
    return further


def _check(output: Path) -> None:
    if output.is_dir() and any(storage.entries(output)) and not (output / MARK).is_file():
        raise FlightdeckError(f"{output} holds something other than a report: choose another folder with --output.")
    if output.exists() and not output.is_dir():
        raise FlightdeckError(f"{output} is a file: choose a folder with --output.")


def _swap(new: Path, output: Path, old: Path) -> None:
    """Puts a folder in the place of another, on the same file system."""
    if output.exists():
        output.rename(old)
    try:
        new.rename(output)
    except OSError:
        if old.exists():
            old.rename(output)
        raise


def _folder(run_id: str) -> str:
    """A name for a run's folder that is a file name everywhere, and the same name in a URL."""
    return quote(run_id, safe="").replace("%", "_")


def _card(file: Path | None) -> cards.Card | None:
    if file is None:
        return None
    try:
        return cards.read(file)
    except (OSError, UnicodeDecodeError) as error:
        raise FlightdeckError(f"The model card {file} (use_case.model_card) cannot be read: {error}.") from None


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    filters = (
        *(formats.number, formats.signed, formats.percent, formats.duration, formats.size, formats.moment, formats.iso),
        *(formats.count, formats.interval, formats.spans, monitoring.signal_name, breakable, slug),
    )
    environment.filters |= {function.__name__: function for function in filters}
    return environment


def breakable(name: str) -> Markup:
    """A name, as HTML, that may be broken after its underscores if it is long."""
    if len(name) <= _LONG_NAME:
        return Markup.escape(name)
    return Markup("<wbr>").join(re.split(r"(?<=_)", name))


def slug(text: str) -> str:
    """A text as a document's id or a class of a style sheet."""
    return re.sub(r"[^a-zA-Z0-9_]+", "-", text).strip("-") or "nothing"


def _assets(folder: Path) -> None:
    """Writes the style sheet and the scripts, those of the libraries as they come in their packages."""
    folder.mkdir()
    for file in sorted((_HERE / "static").iterdir()):
        shutil.copyfile(file, folder / file.name)
    # Each in a function of its own, so that the names in the bundles stay there.
    (folder / "vega.js").write_text(_plots(), encoding="utf-8")
    (folder / "tables.js").write_text(_tables(), encoding="utf-8")


@functools.cache
def _plots() -> str:
    """Vega, Vega-Lite and Vega-Embed, as vl-convert packs them."""
    bundle = vl_convert.javascript_bundle(None)  # pyright: ignore[reportArgumentType] (its stub knows no default)
    return f"(()=>{{{bundle}\n}})();\n"


@functools.cache
def _tables() -> str:
    """DataTables as itables packs it, as a plain script: pages opened from disk may not load modules."""
    bundle = (Path(itables.__file__).parent / "html" / "dt_bundle.js").read_text(encoding="utf-8")
    exports = list(_EXPORT.finditer(bundle))
    names: Sequence[str] = exports[-1]["names"].split(",") if exports else ()
    table = next((name.split(" as ")[0] for name in names if name.endswith(" as default")), None)
    if table is None:
        raise FlightdeckError("The installed itables packs DataTables in another way than this report knows.")
    return f"(()=>{{{bundle[: exports[-1].start()]}\nwindow.Tables={table};}})();\n"
