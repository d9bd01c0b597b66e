"""The written part of a model card."""

import pytest

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


def test_the_card_of_this_project_has_both_parts():
    written = card.read(ROOT / "models" / "CARD.md")
    assert written.before
    assert written.after
