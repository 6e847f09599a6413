"""The versions that a verdict depends on, known without importing what they belong to."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import platform

from workbench import __version__


@functools.cache
def versions() -> dict[str, str]:
    """workbench, Python and the packages whose arithmetic the reference is made of."""
    found = {"workbench": __version__, "python": platform.python_version()}
    for package in ("torch", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
