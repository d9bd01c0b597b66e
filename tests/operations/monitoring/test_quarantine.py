"""Spans in quarantine: what the marker says, and that it is never there by halves."""

from datetime import UTC, datetime

import pytest

import storage
from components.span_example_gen.window import QUARANTINE
from errors import FlightdeckError
from flightdeck.settings import Settings, read_settings
from operations.monitoring import quarantine as span_quarantine
from operations.monitoring.quarantine import listed, quarantine, release
from tests.world import LOCAL

pytestmark = pytest.mark.unit


@pytest.fixture
def settings(place, tmp_path) -> Settings:
    for span in (1, 2, 11):
        storage.make_folder(place / f"span-{span:03d}")
        (place / f"span-{span:03d}" / "rows.csv").touch()
    return read_settings(LOCAL, [f"workspace={tmp_path}", f"data.spans={place}"])


def test_a_span_is_marked_with_who_when_and_why_and_comes_back(settings, place):
    when = datetime(2013, 8, 1, tzinfo=UTC)
    put = quarantine(settings, 11, "its labels are wrong", who="monitor", when=when)
    assert listed(settings) == [put]
    assert (put.span, put.reason, put.who, put.when) == (11, "its labels are wrong", "monitor", when)
    assert release(settings, 11) == put
    assert listed(settings) == []
    assert [entry.name for entry in storage.entries(place / "span-011")] == ["rows.csv"]


def test_the_first_reason_stays(settings):
    first = quarantine(settings, 2, "one reason")
    assert quarantine(settings, 2, "another") == first


def test_of_two_who_mark_a_span_at_once_the_first_reason_stays(settings, monkeypatch):
    """The second one looked before the first one had written."""
    read, looks = span_quarantine._read, []

    def looked_too_early(folder, span):
        looks.append(span)
        return read(folder, span) if len(looks) > 1 else None

    first = quarantine(settings, 2, "one reason")
    monkeypatch.setattr(span_quarantine, "_read", looked_too_early)
    assert quarantine(settings, 2, "another") == first


def test_a_marker_that_a_person_made_counts(settings, place):
    (place / "span-002" / QUARANTINE).write_text("looks odd\n")
    assert [(marked.span, marked.reason) for marked in listed(settings)] == [(2, "looks odd")]


@pytest.mark.parametrize(
    ("span", "reason", "said"),
    [(3, "why", r"There is no span 3 in .*; there are: 1 to 11\."), (1, " ", "needs a reason")],
)
def test_what_cannot_be_done_is_said(settings, span, reason, said):
    with pytest.raises(FlightdeckError, match=said):
        quarantine(settings, span, reason)
    with pytest.raises(FlightdeckError, match=r"not in quarantine|There is no span"):
        release(settings, span)
