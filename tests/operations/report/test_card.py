"""The written part of a model card."""

import pytest

from operations.report import card
from tests.world import ROOT

pytestmark = pytest.mark.unit


def test_sections_are_cut_where_the_figures_belong(tmp_path):
    file = tmp_path / "CARD.md"
    file.write_text(
        "# A model\n\nIgnored.\n\n## For\n\n- **you**\n\n### Detail\n\n## Known limits\n\nMany.\n\n## More\n\n.\n"
    )
    found = card.read(file)
    assert found.title == "A model"
    assert [each.title for each in found.before] == ["For"]
    assert [each.title for each in found.after] == ["Known limits", "More"]
    assert "<strong>you</strong>" in found.before[0].html
    assert "<h3>Detail</h3>" in found.before[0].html


def test_html_in_a_card_is_shown_as_text(tmp_path):
    file = tmp_path / "CARD.md"
    file.write_text("## For\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1))\n")
    (section,) = card.read(file).sections
    assert "<script" not in section.html
    assert "javascript:" not in section.html.replace("(javascript:alert(1))", "")


def test_the_card_of_this_project_has_both_parts():

    found = card.read(ROOT / "models" / "CARD.md")
    assert found.before
    assert found.after
