"""The example that a version carries: a real row that it can be asked with, for the screen and the OpenAPI document."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from operations.inference.columns import Inputs, from_rows

# Where an exporter of this project writes it; servers of SavedModels do not look there.
FILE = Path("assets.extra", "example.json")
_log = logging.getLogger(__name__)


def read(folder: Path, inputs: Inputs) -> dict[str, Any] | None:
    """Returns a row of the data that the version was evaluated on: column -> value; missing ones are left out.

    None if the version carries none, or one that it cannot be asked with: an example is no reason to refuse a version,
    and one that is made up would be worse than none.
    """
    file = folder / FILE
    try:
        row = json.loads(file.read_text(encoding="utf-8"))
        from_rows([row], inputs)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("The example in %s is not shown: %s", file, " ".join(str(error).split()))
        return None
    return row
