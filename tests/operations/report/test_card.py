"""The written part of a model card."""

import re

import pytest

from flightdeck.settings import read_settings
from operations.report import card
from tests.world import ROOT

pytestmark = pytest.mark.unit


def test_sections_are_cut_where_the_figures_belong(tmp_path):
    file = tmp_path / "CARD.md"
    file.write_text(
        "# A model\n\nIgnored.\n\n## For\n\n- **you**\n\n```\n## code\n```\n\n### Detail\n\n"
        "## Known limits\n\nMany.\n\n## More\n\n.\n"
    )
    written = card.read(file)
    (purpose,) = written.before
    assert (written.title, purpose.title) == ("A model", "For")
    assert [section.title for section in written.after] == ["Known limits", "More"]
    assert all(html in purpose.html for html in ("<strong>you</strong>", "## code", "<h3>Detail</h3>"))


def test_html_in_a_card_is_shown_as_text(tmp_path):
    file = tmp_path / "CARD.md"
    file.write_text("## For\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1))\n")
    (section,) = card.read(file).before
    assert "<script" not in section.html
    assert "javascript:" not in section.html.replace("(javascript:alert(1))", "")


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ("local", "The answer is a probability."),
        ("delay", "The answer is a number of minutes,"),
        ("lateness", "The answer is a probability of each class,"),
    ],
)
def test_the_cards_of_the_flights_have_both_parts_and_are_about_what_is_predicted(settings, answer):
    file = read_settings(ROOT / "config" / f"{settings}.yaml").use_case.model_card
    assert file is not None
    written = card.read(file)
    assert written.before
    assert written.after
    said = " ".join(re.sub(r"<[^>]*>", "", section.html) for section in (*written.before, *written.after))
    assert answer in " ".join(said.split())


def test_the_card_of_a_number_speaks_of_no_probability():
    said = (ROOT / "models" / "DELAY.md").read_text().lower()
    assert not re.search(r"\bauc\b|probabilit|threshold|calibrat|classes", said)
