"""What the package can do, described once for all tests of a process: planning keeps it by the state of the sources."""

import atexit
import shutil
import tempfile
from pathlib import Path

_FOLDER = Path(tempfile.mkdtemp(prefix="ttfm-registry-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


def with_registry(results: Path) -> Path:
    """``results`` as a folder of results that has the descriptions."""
    results.mkdir(parents=True, exist_ok=True)
    if not (results / ".registry").exists():
        (results / ".registry").symlink_to(_FOLDER)
    return results
