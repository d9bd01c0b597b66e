"""Whether a worker is alive, as far as can be told from here."""

import subprocess
import sys
import time

import psutil
import pytest

from operations.sweep.owner import Leases, Owner

pytestmark = pytest.mark.unit


def never() -> int:
    raise AssertionError("a process of this machine is looked at, not listened to")


def test_a_process_here_is_gone_as_soon_as_it_is() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = Owner(machine=Owner.me().machine, pid=process.pid, started=psutil.Process(process.pid).create_time())
    leases = Leases()
    assert not leases.gone("token", owner, never)
    process.kill()
    # Also while it is a zombie, which nobody has waited for.
    for _ in range(200):
        if leases.gone("token", owner, never):
            break
        time.sleep(0.05)
    assert leases.gone("token", owner, never)
    process.wait()
    assert leases.gone("token", owner, never)


def test_another_process_with_the_same_number_is_not_the_owner() -> None:
    me = Owner.me()
    assert not Leases().gone("token", me, never)
    assert Leases().gone("token", me.model_copy(update={"started": me.started - 60}), never)


def test_a_process_elsewhere_has_a_lease_that_each_beat_renews() -> None:
    now = [0.0]
    leases = Leases(lease_seconds=90, clock=lambda: now[0])
    owner = Owner(machine="another", pid=1, started=1.0)

    def gone(at: float, beat: int) -> bool:
        now[0] = at
        return leases.gone("token", owner, lambda: beat)

    assert not gone(1000, 3)  # the first look: the clock begins here, whatever the other one shows
    assert not gone(1089, 3)
    assert not gone(1095, 4)
    assert not gone(1180, 4)
    assert gone(1186, 4)
    assert not gone(1190, 5)  # it was only slow
