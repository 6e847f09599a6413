"""pytest's folders are private; a sandboxed process that gave up root has to reach what a test gives it."""

from __future__ import annotations

import tempfile
from pathlib import Path


def open_to_others(folder: Path) -> None:
    """Let everybody enter `folder` and what it lies in, up to the system's own temporary folder, which stays as it is."""
    top = Path(tempfile.gettempdir()).resolve()
    for one in (folder, *folder.parents):
        if one.resolve() == top or not one.resolve().is_relative_to(top):
            return
        one.chmod(0o755)
