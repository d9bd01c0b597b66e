"""What the site brings along instead of asking a network for it."""

import pytest

from docs.site import hooks

pytestmark = pytest.mark.unit


def test_the_script_of_the_diagrams_is_there():
    assert "mermaid" in hooks.mermaid().read_text("utf-8")[:200]
