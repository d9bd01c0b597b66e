"""What is left out of the navigation, and what is never left out."""

import pytest
from mkdocs.config.defaults import MkDocsConfig

from docs.site import hooks

pytestmark = pytest.mark.unit


def test_an_awaited_page_is_in_the_navigation_once_it_is_there(tmp_path):
    (tmp_path / "there.md").write_text("# There")
    config = MkDocsConfig()
    config.docs_dir = str(tmp_path)
    config.extra = {"awaited": ["there.md", "later.md"]}
    config.markdown_extensions = []
    config.nav = ["index.md", {"Part": [{"There": "there.md"}, {"Later": "later.md"}]}, {"Lost": "lost.md"}]
    hooks.on_config(config)
    # What is missing and not awaited stays, so that the build fails.
    assert config.nav == ["index.md", {"Part": [{"There": "there.md"}]}, {"Lost": "lost.md"}]


def test_the_script_of_the_diagrams_is_there():
    assert "mermaid" in hooks.mermaid().read_text("utf-8")[:200]
