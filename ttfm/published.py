"""Files of figures that papers print, for the page to set beside ours. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ttfm.experiment import ExperimentError, schema_faults


def read_published(path: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The checked content of one file; numbers of steps become text, as keys of JSON are.

    Args:
        path: the file, from the folder that the workflow runs in.
        schema: its JSON schema.

    Raises:
        ExperimentError: naming the file and every fault in it.
    """
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ExperimentError(f"published: {path} cannot be read ({error.strerror or error})") from None
    except yaml.YAMLError as error:
        raise ExperimentError(f"published: {path} is not valid YAML ({error})") from None
    for row in found.get("rows") or [] if isinstance(found, dict) else []:
        if isinstance(row, dict) and isinstance(row.get("values"), dict):
            row["values"] = {str(steps): value for steps, value in row["values"].items()}
    faults = schema_faults(schema, found, "")
    if faults:
        raise ExperimentError("\n".join(f"published: {path}: {fault}" for fault in faults))
    return found
