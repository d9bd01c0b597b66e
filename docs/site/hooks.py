"""What happens while MkDocs builds the site: reference pages are made from code, and links into the repository lead on.

The site is complete in itself: no font, script, style or image comes from elsewhere, so it opens from disk.
"""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from docs.site import (
    cli_reference,
    components_reference,
    http_api_reference,
    metrics_reference,
    repository,
    settings_reference,
)

ROOT = Path(__file__).resolve().parents[2]
MERMAID = "assets/javascripts/mermaid.js"

# As MkDocs's own messages: a warning of this name fails a strict build.
_log = logging.getLogger("mkdocs.hooks.flightdeck")
_links = repository.RepositoryLinks()


def on_config(config: MkDocsConfig) -> None:
    """Lets links lead into the repository."""
    _links.external.clear()
    config.markdown_extensions.append(_links)  # type: ignore[arg-type]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made: the reference, and the files of the repository that pages link to."""
    for page, text in reference().items():
        files.append(File.generated(config, page, content=text))
    texts = {file.src_uri: file.content_string for file in files.documentation_pages()}
    _links.pages = {page: f"docs/{page}" for page in texts}
    try:
        sources = repository.source_pages(ROOT, texts)
    except repository.LinkError as error:
        raise PluginError(str(error)) from None
    _links.sources = {page: source.path for page, source in sources.items()}
    for page, source in sources.items():
        # Also what is in hidden folders, such as the workflows: MkDocs would leave it out.
        files.append(File.generated(config, page, content=source.markdown, inclusion=InclusionLevel.NOT_IN_NAV))
    files.append(File.generated(config, MERMAID, abs_src_path=str(mermaid())))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> None:
    """Says whose links are to be rewritten next."""
    del markdown, config, files
    _links.page = page.file.src_uri


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Names the search for screen readers, and gives a page with a diagram the script that draws it.

    Without that script the theme would ask a network for it.
    """
    del config
    output = output.replace('"search" role="dialog"', '"search" role="dialog" aria-label="Search"')
    if 'class="mermaid"' not in output:
        return output
    up = "../" * page.file.dest_uri.count("/")
    return output.replace("</head>", f'<script src="{up}{MERMAID}"></script></head>', 1)


def on_env(env: object, config: MkDocsConfig, files: Files) -> None:
    """Reports external links whose form is wrong, once all pages are known. No network is asked."""
    del env, config, files
    for href in sorted(_links.external):
        if (wrong := repository.wrong_address(href)) is not None:
            _log.warning("External link %s: %s.", href, wrong)


def on_post_build(config: MkDocsConfig) -> None:
    """Lists the external links, for whoever wants to visit them."""
    listed = "".join(f"{href}\n" for href in sorted(_links.external))
    (Path(config.site_dir) / "external-links.txt").write_text(listed, "utf-8")


def reference() -> dict[str, str]:
    """The pages that are made from code: page -> Markdown."""
    from flightdeck.options import default_config
    from flightdeck.settings import read_settings

    settings = read_settings(default_config())
    return {
        "reference/settings.md": settings_reference.page(type(settings)),
        "reference/cli.md": cli_reference.page(),
        "reference/components.md": components_reference.page(ROOT / "components"),
        "reference/metrics.md": metrics_reference.page(),
        "reference/http-api.md": http_api_reference.page(settings),
    }


def mermaid() -> Path:
    """The script that draws diagrams, from mmdc's wheel; that of 0.7.0 is npm's mermaid 11.12.0 to the byte."""
    spec = importlib.util.find_spec("mmdc")
    if spec is None or spec.origin is None:
        raise PluginError("The package mmdc, which holds mermaid.js, is not installed; run make setup-dev.")
    return Path(spec.origin).parent / "assets" / "mermaid.js"
