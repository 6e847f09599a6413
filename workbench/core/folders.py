"""Where what can be made again is kept on this machine.

Without platformdirs on Linux: the judge's side runs on a GPU machine that has torch, numpy, cuda-core, msgspec and
pyelftools alone (docs/design.md, section 10).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache folder of workbench, not made yet: $XDG_CACHE_HOME/workbench, else ~/.cache/workbench.

    On macOS and Windows, where the variable is not set, the system's own place if platformdirs is there to name it.
    """
    named = os.environ.get("XDG_CACHE_HOME", "").strip()
    if os.path.isabs(named):  # the specification says that a relative one is to be ignored
        return Path(named) / "workbench"
    if not sys.platform.startswith("linux"):
        try:
            import platformdirs
        except ImportError:
            pass
        else:
            return platformdirs.user_cache_path("workbench")
    return Path(os.path.expanduser("~")) / ".cache" / "workbench"
