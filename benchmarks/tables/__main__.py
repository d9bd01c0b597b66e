"""Takes ten tables from CSV to a served model, and compares that with trees and a linear model on the same split.

What is done is kept in a folder, so that a second call goes on where the first one ended. With `--write` the results of
all tables that are done go into ``docs/tables.json`` and the page beside it.

    python -m benchmarks.tables --write

The exit status is 1 if a table is lacking, or more than two of ten are too far below the better one of the other two.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import pipeline
from benchmarks.tables import measuring, page
from benchmarks.tables.specs import TABLES
from errors import FlightdeckError


def main() -> int:
    """Measures; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=[table.name for table in TABLES], metavar="NAME", default=None)
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir(), "flightdeck-tables"),
        help="where packages, projects and results are kept",
    )
    parser.add_argument("--again", action="store_true", help="measure also what is done already")
    parser.add_argument("--write", action="store_true", help="write docs/tables.json and its page")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    kept = options.folder / "results"
    kept.mkdir(parents=True, exist_ok=True)
    failed = False
    for table in TABLES:
        result = kept / f"{table.name}.json"
        if table.name not in (options.only or [table.name]) or (result.exists() and not options.again):
            continue
        # What a killed measurement left.
        shutil.rmtree(options.folder / table.name, ignore_errors=True)
        try:
            found = measuring.measured(table, options.folder, lambda line: print(line, file=sys.stderr, flush=True))
        except FlightdeckError as error:
            print(error, file=sys.stderr)
            failed = True
            continue
        result.write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
        # Copies of the rows, and models, which are large together.
        shutil.rmtree(options.folder / table.name)
    results = [
        json.loads((kept / f"{table.name}.json").read_text(encoding="utf-8"))
        for table in TABLES
        if (kept / f"{table.name}.json").exists()
    ]
    if options.write:
        page.write(results, pipeline.machine(), pipeline.ROOT / "docs")
    print(json.dumps(results, ensure_ascii=False) if options.as_json else page.quality(results))
    too_low = sum(not page.passed(result) for result in results)
    return int(failed or len(results) < len(TABLES) or too_low > len(TABLES) - page.FEWEST_PASSED)


if __name__ == "__main__":
    sys.exit(main())
