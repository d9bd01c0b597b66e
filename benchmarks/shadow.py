"""What requests pay for a version in shadow mode: the same service with and without one.

    python -m benchmarks.shadow [--seconds 5] [--rounds 3] [--set KEY=VALUE]

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

import numpy as np
import orjson

ROWS = (1, 64)
CLIENTS = (1, 4, 16)


@dataclasses.dataclass(frozen=True)
class Level:
    """What some clients saw, all rounds together.

    Attributes:
        rows: of each request.
        clients: that asked at the same time.
        shadow: whether a version was in shadow mode.
        requests_per_second: answered.
        p50_ms: half of the answers took no longer.
        p99_ms: 99 % took no longer.
        cpu_ms: processor time of the service per request.
        failed: requests that failed.
    """

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
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round of each level")
    parser.add_argument("--rounds", type=int, default=3, help="of each level, with and without in turns")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()

    from operations.inference.model import load
    from operations.serving import canary_record, child
    from operations.serving.bench import real_rows
    from pipeline import settings_file
    from pipeline.settings import Canary

    settings = settings_file.load(options.config, options.overrides)
    name, models = settings.use_case.name, Path(settings.pushed)
    rows = real_rows(settings, 4096)
    newest = max((each for each in models.iterdir() if each.name.isdigit()), key=lambda each: int(each.name))
    inputs = load(newest, int(newest.name)).inputs.names
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
                    levels += _alternately(name, (plain, shadow), bodies, size, clients, options)
        record = canary_record.read(folder / "shadow", int(newest.name) + 1)
    document = {"levels": [dataclasses.asdict(each) for each in levels], "canary": dataclasses.asdict(record)}
    print(json.dumps(document, indent=2) if options.as_json else _table(levels, record))
    return int(bool(record.failed or record.does_not_load or any(each.failed for each in levels)))


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


def _alternately(name, services, bodies, size, clients, options) -> list[Level]:
    from operations.serving.load import drive

    url = f"/v1/models/{name}:predict"
    taken: list[list[np.ndarray]] = [[], []]
    seconds, cpu, failed = [0.0, 0.0], [0.0, 0.0], [0, 0]

    def check(answer) -> str | None:
        predictions = orjson.loads(answer.content).get("predictions", ())
        return None if len(predictions) == size else f"{len(predictions)} predictions for {size} rows"

    for round_ in range(options.rounds + 1):
        for which, service in enumerate(services):
            before = service.cpu_seconds()
            load = asyncio.run(drive(service.url + url, bodies, clients, options.seconds if round_ else 1.0, check))
            failed[which] += load.failed
            if not round_:  # It warms up.
                continue
            taken[which].append(load.milliseconds)
            seconds[which] += load.seconds
            cpu[which] += service.cpu_seconds() - before
    found = []
    for which in (0, 1):
        all_ = np.concatenate(taken[which])
        p50, p99 = (float(np.percentile(all_, share)) for share in (50, 99))
        rate, each = len(all_) / seconds[which], cpu[which] * 1000 / len(all_)
        found.append(Level(size, clients, bool(which), rate, p50, p99, each, failed[which]))
    return found


def _table(levels, record) -> str:
    lines = ["rows  clients  shadow  requests/s  p50 ms  p99 ms  CPU ms  failed"]
    lines += [
        f"{each.rows:4d}  {each.clients:7d}  {'shadow' if each.shadow else '-':6s}  {each.requests_per_second:10,.0f}"
        f"  {each.p50_ms:6.2f}  {each.p99_ms:6.2f}  {each.cpu_ms:6.2f}  {each.failed:6d}"
        for each in levels
    ]
    counts = f"{record.answered:,} requests answered, {record.failed} failed, {record.dropped_rows:,} rows left out"
    return "\n".join([*lines, f"The canary: {counts}."])


if __name__ == "__main__":
    sys.exit(main())
