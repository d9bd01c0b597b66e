"""Whether the process that holds a lease is alive, as far as can be told from here."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from ledger.lease import LEASE_SECONDS, Leases, Owner
from tests.operations.serving.live_server import wait_for

pytestmark = pytest.mark.unit

NOW = datetime.now(UTC)
BOOTED = datetime.fromtimestamp(psutil.boot_time(), UTC)
WAITING = "from ledger.lease import Owner; print(Owner.me('1:2').model_dump_json(), flush=True); input()"


def never() -> datetime:
    raise AssertionError("a process of this machine is looked at, not listened to")


def me_but(**fields: object) -> Owner:
    """This process, in the workspace whose lock is 1:2, with some facts of another."""
    return Owner.me("1:2").model_copy(update=fields)


def test_a_killed_process_is_gone_while_it_is_a_zombie_and_after():
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", WAITING], stdin=pipe, stdout=pipe, text=True) as process:
        owner = Owner.model_validate_json(process.stdout.readline())
        assert owner.alive() is True
        assert not Leases().gone("token", owner, never)
        assert not owner.left("1:2", NOW)

        process.kill()
        wait_for(lambda: owner.alive() is False)  # nobody has waited for it yet

    assert owner.alive() is False
    assert Leases().gone("token", owner, never)
    assert owner.left("1:2", NOW)


def test_another_process_with_the_same_number_is_not_the_owner():
    me = Owner.me()

    assert me.alive() is True
    assert me_but(started=me.started - 60).alive() is False


def test_a_process_of_this_machine_before_it_was_started_last_is_gone():
    before = me_but(boot="an earlier start")
    heard = BOOTED - timedelta(seconds=LEASE_SECONDS)

    assert before.alive(heard) is False
    # Devices may have other numbers by now; the workspace's lock has the same one on its device.
    assert before.left("7:2", heard)
    assert not before.left("1:3", heard)


@pytest.mark.parametrize(
    ("there", "heard"),
    [
        # A namesake of this machine has been heard of since this one started.
        *(({}, heard) for heard in (None, BOOTED + timedelta(seconds=1), NOW)),
        *(({"host": "another", "pid": 2**30}, heard) for heard in (None, NOW, BOOTED - timedelta(days=365))),
    ],
)
def test_a_process_of_another_machine_is_never_gone(there, heard):
    owner = me_but(boot="its own start", **there)

    assert owner.alive(heard) is None
    assert not owner.left("1:2", heard)


def test_who_holds_the_lock_knows_that_a_process_in_another_container_is_gone():
    there = me_but(namespace="another", pid=2**30)

    for container in (there, me_but(host="a-container", pid=2**30)):
        assert container.alive(NOW) is None
        assert container.left("1:2", NOW)
    assert not there.left("1:3", NOW)  # of another workspace
    assert not there.model_copy(update={"lock": None}).left("1:2", NOW)


def test_who_has_written_before_there_were_hosts_is_somewhere_else():
    assert Owner.model_validate({"machine": "old", "pid": 1, "started": 1.0}).alive(NOW) is None


def test_a_process_elsewhere_is_gone_when_its_lease_has_expired_on_the_clock_here():
    now = [0.0]
    leases = Leases(lease_seconds=90, clock=lambda: now[0])
    owner = Owner(host="another", boot="its own start", pid=1, started=1.0)

    def gone(at: float, renewals: int) -> bool:
        now[0] = at
        return leases.gone("token", owner, lambda: NOW + timedelta(seconds=renewals))

    assert not gone(1000, 3)  # the first look: the clock begins here, whatever the other one shows
    assert not gone(1089, 3)
    assert not gone(1095, 4)
    assert not gone(1180, 4)
    assert gone(1186, 4)
    assert not gone(1190, 5)  # it was only slow
