"""The compiled Kubeflow pipeline that people review. As a program, writes it anew.

The TFX pipeline inside is left out: it holds digests of the code, which every edit changes.
"""

from pathlib import Path

import yaml

from tests.pipeline.compiled_kubeflow import CONFIG

GOLDEN = Path(__file__).parent / "golden" / "kubeflow.yaml"
COMMAND = ".venv/bin/python -m tests.pipeline.golden_kubeflow"


def reviewable(compiled: str) -> str:
    """A compiled pipeline without the TFX pipeline in it, and without its settings."""
    pipeline = next(yaml.safe_load_all(compiled))
    carried = pipeline["root"]["inputDefinitions"]["parameters"]
    for name in ("ir", "settings"):
        compiled = compiled.replace(carried[name]["defaultValue"], "left out of this copy")
    return compiled


def main() -> None:
    """Compiles the shipped settings and writes the golden file."""
    import tempfile

    from flightdeck.settings import read_settings
    from pipeline.runners import kubeflow

    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "pipeline.yaml"
        kubeflow.compile_pipeline(read_settings(CONFIG), compiled)
        GOLDEN.write_text(reviewable(compiled.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"Wrote {GOLDEN.relative_to(Path.cwd())}; review the difference.")


if __name__ == "__main__":
    main()
