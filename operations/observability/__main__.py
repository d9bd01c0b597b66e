"""``python -m operations.observability`` writes the files of `deploy/observability` anew."""

from __future__ import annotations

from pathlib import Path

from operations.observability.files import contents

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "observability"


def main() -> None:
    """Writes every file, and says which."""
    for name, text in contents().items():
        file = FOLDER / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        print(f"deploy/observability/{name}")


if __name__ == "__main__":
    main()
