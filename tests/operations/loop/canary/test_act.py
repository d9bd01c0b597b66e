"""What is done about a canary, on a real registry and a real store, also by a process that was killed."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from errors import FlightdeckError
from operations.loop.canary import act
from operations.loop.canary.act import by_hand, first, look, verdicts
from operations.registry import Registry, RegistryError
from tests.flightdeck.conftest import refused
from tests.operations.loop.canary.traffic import DAY, answer, label, world
from tests.operations.test_registry import Factory

pytestmark = pytest.mark.unit
SERVED, CANARY = 3, 50
UNTIL = DAY + timedelta(days=1)
OVERRIDES = ("canary.mode=shadow", "canary.rows=500", "canary.labels=500")


class Deck(Factory):
    """A served version, and perhaps a canary; what people are told is in `told`."""

    def __init__(self, workspace: Path, served: bool = True) -> None:
        super().__init__(workspace, *OVERRIDES)
        self.told: list = []
        if served:
            self.push("three", self.train("three"), SERVED)
        self.model = self.train("five")
        self.push("five", self.model, CANARY, canary=True)

    def traffic(self, noise: float) -> None:
        names, good, noisy, labels = world(2000, noise)
        answer(Path(self.settings.payloads), SERVED, names, good)
        answer(Path(self.settings.payloads), CANARY, names, noisy, shadow=True)
        label(Path(self.settings.spans), 4, names, labels)

    def look(self, level: int = 2):
        canary = self.registry().canary()
        assert canary is not None
        return look(self.settings, self.store, canary, UNTIL, level, self.told.append)

    def look_without_end(self, noise: float, monkeypatch) -> None:
        """All of a look but its last step."""
        self.traffic(noise)
        with monkeypatch.context() as patched:
            patched.setattr(Registry, "retire", lambda self, number: None)
            self.look()

    @property
    def titles(self) -> list[str]:
        return [alert.title.partition(": ")[2] for alert in self.told]


@pytest.fixture
def deck(tmp_path) -> Deck:
    return Deck(tmp_path / "workspace")


def test_at_level_2_a_good_one_takes_over_and_people_are_told(deck):
    deck.traffic(noise=0.0)

    verdict = deck.look()

    served = deck.registry().served()
    assert verdict.action == "promote"
    assert (served.model_id, served.number != CANARY) == (deck.model, True)
    assert f"canary {CANARY}: Its log loss" in served.reason
    assert deck.registry().canary() is None
    assert deck.registry().previous().number == SERVED
    assert deck.titles == [f"canary {CANARY}: promoted"]
    assert [verdict.action for verdict in verdicts(deck.settings, deck.store)] == ["promote"]


def test_at_level_2_a_worse_one_goes_and_the_served_one_stays(deck):
    deck.traffic(noise=1.0)

    assert deck.look().action == "reject"

    assert deck.registry().served().number == SERVED
    assert deck.registry().canary() is None
    assert deck.titles == [f"canary {CANARY}: rejected"]


@pytest.mark.parametrize("level", [0, 1])
def test_below_level_2_it_is_proposed_once_and_a_person_does_it(level, deck):
    deck.traffic(noise=0.0)

    for _ in range(2):
        assert deck.look(level).action == "promote"

    assert deck.registry().served().number == SERVED
    assert deck.titles == [f"canary {CANARY}: please promote"]
    assert "flightdeck canary promote" in deck.told[0].text
    assert by_hand(deck.settings, deck.store, "promote", "", UNTIL).action == "promote"
    assert deck.registry().served().model_id == deck.model


def test_while_too_little_was_seen_nothing_is_done_and_nobody_told(deck):
    assert deck.look().action == "wait"
    assert deck.told == []
    assert deck.registry().canary().number == CANARY


def test_against_what_was_seen_a_person_needs_a_reason(deck):
    for action in ("promote", "reject"):
        with pytest.raises(FlightdeckError, match=r"says wait .* needs a --reason"):
            by_hand(deck.settings, deck.store, action, " ", UNTIL)

    verdict = by_hand(deck.settings, deck.store, "reject", "the product was withdrawn", UNTIL)

    assert verdict.reasons[0] == "A person decided: the product was withdrawn."
    assert deck.registry().canary() is None
    with pytest.raises(FlightdeckError, match="There is no canary"):
        by_hand(deck.settings, deck.store, "reject", "again", UNTIL)


def test_where_nothing_is_served_it_is_promoted_at_once_at_any_level(tmp_path):
    deck = Deck(tmp_path / "workspace", served=False)

    assert first(deck.settings, deck.store, deck.told.append).action == "promote"

    assert deck.registry().served().model_id == deck.model
    assert first(deck.settings, deck.store, deck.told.append) is None


@pytest.mark.parametrize(
    ("noise", "step"), [(0.0, "promote"), (0.0, "alert"), (0.0, "retire"), (1.0, "alert"), (1.0, "retire")]
)
def test_an_act_that_was_killed_before_any_step_is_finished_by_the_next_look(noise, step, deck, monkeypatch):
    deck.traffic(noise)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(*((act, "_alert") if step == "alert" else (Registry, step)), killed)
        with pytest.raises(KeyboardInterrupt):
            deck.look()

    deck.look()

    served = deck.registry().served()
    assert served.model_id == deck.model if noise == 0 else served.number == SERVED
    assert deck.registry().canary() is None
    assert len(verdicts(deck.settings, deck.store)) == 1
    assert [version.origin for version in deck.registry().versions()] == [*["promote"] * (noise == 0), "run"]


def test_what_was_promoted_and_then_rolled_back_is_not_promoted_again_by_finishing_the_act(deck, monkeypatch):
    deck.look_without_end(0.0, monkeypatch)
    deck.registry().rollback(reason="a person")

    deck.look()

    assert deck.registry().served().origin == "rollback"
    assert deck.registry().canary() is None


def test_a_kept_verdict_holds_whatever_is_seen_later(deck, monkeypatch):
    deck.look_without_end(1.0, monkeypatch)
    monkeypatch.setattr(act, "judged", lambda *_: pytest.fail("it was judged again"))

    with pytest.raises(FlightdeckError, match="was decided on before"):
        by_hand(deck.settings, deck.store, "promote", "I want it", UNTIL)
    assert deck.registry().canary() is None
    assert deck.registry().served().number == SERVED


def test_a_promotion_that_cannot_be_may_be_rejected_instead(deck):
    deck.traffic(noise=0.0)
    shutil.rmtree(deck.workspace / "artifacts")
    with pytest.raises(RegistryError, match="is gone"):
        deck.look()
    with pytest.raises(RegistryError, match="is gone"):
        by_hand(deck.settings, deck.store, "promote", "please", UNTIL)

    with pytest.raises(FlightdeckError, match="that is done"):
        by_hand(deck.settings, deck.store, "reject", "the model is gone", UNTIL)

    assert deck.registry().canary() is None
    assert [verdict.action for verdict in verdicts(deck.settings, deck.store)] == ["reject"]


def test_a_model_that_nobody_knows_cannot_be_promoted_by_hand_and_no_verdict_is_kept(deck):
    stray = Path(deck.settings.canaries) / "60"
    shutil.copytree(Path(deck.settings.canaries) / str(CANARY), stray)

    with pytest.raises(FlightdeckError, match="ML Metadata does not know the model of version 60"):
        by_hand(deck.settings, deck.store, "promote", "I trust it", UNTIL)

    assert verdicts(deck.settings, deck.store) == []
    assert by_hand(deck.settings, deck.store, "reject", "whose is it?", UNTIL).action == "reject"


def test_the_command_line_shows_and_decides(deck, flightdeck):
    deck.traffic(noise=0.0)
    options = [part for setting in (f"workspace={deck.workspace}", *OVERRIDES) for part in ("--set", setting)]

    def says(*arguments: str) -> str:
        code, out, err = flightdeck(*arguments, *options)
        assert code == 0, err
        return out

    assert f"version {CANARY}, model {deck.model}" in says("canary", "show", "--now", UNTIL.isoformat()[:19])
    assert "canary" in says("models", "list")
    shown = json.loads(says("canary", "show", "--json"))
    assert (shown["verdict"]["action"], shown["canary"]["number"]) == ("promote", CANARY)
    refused(flightdeck("canary", "reject", *options), "needs a --reason")
    assert "is served" in says("canary", "promote")
    assert "There is no canary" in says("canary", "show")
