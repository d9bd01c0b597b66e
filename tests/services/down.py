"""Ends the services that ``up.py`` started; those that ran before are left alone. Data and images stay."""

import sys

from tests.services import docker_engine, mariadb
from tests.services.daemon import one_at_a_time


def main() -> int:
    with one_at_a_time():
        for name, stop in (("docker", docker_engine.stop), ("mariadb", mariadb.stop)):
            print(f"{name:<12} {'stopped' if stop() else 'was not running'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
