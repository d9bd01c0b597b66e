"""Starts the services that tests need, and says how to reach them: ``up.py docker mariadb image --json``."""

import argparse
import dataclasses
import json
import sys
from typing import Any

from tests.services import docker_engine, image, mariadb
from tests.services.daemon import ServiceError, one_at_a_time

CHOICES = ("docker", "mariadb", "image")


def main() -> int:
    """Starts what is named; ``image`` needs an engine and starts it. What runs already is used as it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("services", nargs="+", choices=CHOICES)
    parser.add_argument("--json", action="store_true", help="print one JSON document, the password included")
    options = parser.parse_args()
    try:
        reached = up(options.services)
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(reached, default=dataclasses.asdict))
        return 0
    if "mysql" in reached:
        place = f"in {mariadb.DAEMON.folder}/credentials.json"
        reached["mysql"] = dataclasses.replace(reached["mysql"], password=place)
    for name, value in reached.items():
        print(f"{name:<12} {value}")
    return 0


def up(services: list[str]) -> dict[str, Any]:
    """Starts services: returns ``docker_host``, ``mysql`` (a `mariadb.Server`) and ``image``, as far as asked for."""
    reached: dict[str, Any] = {}
    with one_at_a_time():
        if {"docker", "image"} & set(services):
            reached["docker_host"] = docker_engine.start()
        if "mariadb" in services:
            reached["mysql"] = mariadb.start()
        if "image" in services:
            image.ensure_base(reached["docker_host"])
            reached["image"] = image.build(reached["docker_host"])
    return reached


if __name__ == "__main__":
    sys.exit(main())
