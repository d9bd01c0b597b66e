"""What requests pay for a version in shadow mode: the same service with and without one.

    python -m benchmarks.shadow [--seconds 15] [--set KEY=VALUE]

Two services run at the same time over the newest pushed model, one of them with a copy of it in shadow mode. They are
asked in turns, so that whatever else the machine does falls on both; who is not asked is idle. It fails if a request
fails, or if the canary failed to answer one.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import shutil
import sys
import tempfile
from pathlib import Path

import orjson

ROWS = (1, 64)
CLIENTS = (1, 4, 16)


@dataclasses.dataclass(frozen=True)
class Level:
    """What some clients saw, with a version in shadow mode or without; `cpu_ms` is that of the service per request."""

    rows: int
    clients: int
    shadow: bool
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    failed: int


def main() -> int:
    """Measures; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", type=Path, default=Path(__file__).parents[1] / "config" / "local.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each level, with and without, in turns")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()

    from flightdeck.settings import read_settings
    from operations.inference import model
    from operations.serving import canary_record, child
    from operations.serving.bench import in_turns, real_rows
    from operations.serving.settings import Canary

    settings = read_settings(options.config, options.overrides)
    name, models = settings.use_case.name, Path(settings.pushed)
    rows = real_rows(settings, 4096)
    newest = max((path for path in models.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    inputs = model.load(newest, int(newest.name)).inputs.names
    canary = Canary(mode="shadow").model_dump_json()
    levels: list[Level] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copytree(newest, folder / "canaries" / str(int(newest.name) + 1))
        more = ("--canaries", str(folder / "canaries"), "--canary", canary)
        with (
            child.serving(name, models, settings.serving, folder / "plain", folder / "log") as plain,
            child.serving(name, models, settings.serving, folder / "shadow", folder / "log", *more) as shadow,
        ):
            asyncio.run(_until_loaded(shadow.url))
            for size in ROWS:
                bodies = [
                    orjson.dumps(
                        {"instances": [{key: row[key] for key in inputs} for row in rows[start : start + size]]},
                        option=orjson.OPT_SERIALIZE_NUMPY,
                    )
                    for start in range(0, 32 * size, size)
                ]
                for clients in CLIENTS:
                    print(f"{clients} clients, {size} rows per request", file=sys.stderr, flush=True)
                    path = f"/v1/models/{name}:predict"
                    asked = [(plain, path), (shadow, path)]
                    # Long turns: the canary answers a little later than the served version.
                    for which, (load, cpu) in enumerate(
                        in_turns(asked, bodies, clients, options.seconds, size, turn_seconds=5.0)
                    ):
                        levels.append(
                            Level(
                                size,
                                clients,
                                bool(which),
                                load.requests_per_second,
                                load.percentile(50),
                                load.percentile(99),
                                cpu * 1000 / len(load.milliseconds),
                                load.failed,
                            )
                        )
        record = canary_record.read(folder / "shadow", int(newest.name) + 1)
    document = {"levels": [dataclasses.asdict(level) for level in levels], "canary": dataclasses.asdict(record)}
    print(json.dumps(document, indent=2) if options.as_json else _table(levels, record))
    return int(bool(record.failed or record.does_not_load or any(level.failed for level in levels)))


async def _until_loaded(url: str) -> None:
    """Waits until the canary is loaded."""
    import aiohttp

    async with asyncio.timeout(120), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{url}/metrics") as response:
                lines = (await response.text()).splitlines()
            if any(
                line.startswith("flightdeck_serving_canary_version ") and not line.endswith(" 0.0") for line in lines
            ):
                return
            await asyncio.sleep(0.2)


def _table(levels, record) -> str:
    lines = ["rows  clients  shadow  requests/s  p50 ms  p99 ms  CPU ms  failed"]
    lines += [
        f"{level.rows:4d}  {level.clients:7d}  {'shadow' if level.shadow else '-':6s}"
        f"  {level.requests_per_second:10,.0f}  {level.p50_ms:6.2f}  {level.p99_ms:6.2f}  {level.cpu_ms:6.2f}"
        f"  {level.failed:6d}"
        for level in levels
    ]
    counts = f"{record.answered:,} requests answered, {record.failed} failed, {record.dropped_rows:,} rows left out"
    return "\n".join([*lines, f"The canary: {counts}."])


if __name__ == "__main__":
    sys.exit(main())
