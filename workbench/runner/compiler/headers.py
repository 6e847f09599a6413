"""Where the CUDA headers and NVRTC are, and which of a candidate's includes are worth precompiling.

NVIDIA's wheels first, since they fit the NVRTC that is installed with them; then a toolkit, then triton's package.
"""

from __future__ import annotations

import os
import re
import site
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

OWN = Path(__file__).with_name("include")
"""Our prelude and the few standard headers that NVRTC does not bring."""

PARTS = ("crt/host_defines.h", "crt/mma.h", "cub/block/block_reduce.cuh")
"""One header of each part that comes apart from `cuda_fp16.h`: without the first the host target does not build."""

_HEAVY = re.compile(
    r"(?!cub/cub\.cuh)(cub|cuda|thrust|cooperative_groups)/[\w./+-]+|cooperative_groups\.h|"
    r"type_traits|limits|utility|algorithm|array|tuple|functional"
)
_CONFIGURES = re.compile(r"_|CUB|CCCL|THRUST|CUDA|NV|LIBCUD|COOPERATIVE|CG_|NDEBUG|FULL_MASK_")
"""Macros by which a header may be configured: a file that defines one keeps its includes where they are."""


@dataclass(frozen=True)
class Headers:
    """Include folders of the CUDA headers, in order."""

    folders: tuple[str, ...]
    origin: str
    """"wheels", "toolkit", "triton", several of them or ""."""

    def absent(self) -> list[str]:
        """Those of `PARTS` that are not here."""
        return [name for name in PARTS if self.resolve(name) is None]

    def resolve(self, name: str) -> Path | None:
        """The file that `#include <name>` would read, or None."""
        for folder in self.folders:
            path = Path(folder, name)
            if path.is_file():
                return path
        return None


def package_folders() -> list[Path]:
    """Folders in which packages are installed for this interpreter."""
    known = [*site.getsitepackages(), site.getusersitepackages(), *sys.path]
    return [Path(p) for p in dict.fromkeys(known) if p and os.path.isdir(p)]


def toolkits() -> list[Path]:
    """Roots of installed CUDA toolkits, the user's choice first."""
    named = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda", "/opt/cuda"]
    return [Path(p) for p in dict.fromkeys(named) if p and os.path.isdir(p)]


@cache
def find_headers() -> Headers:
    """The CUDA headers of this machine; without folders where there are none."""
    return complete_headers(_places())


def complete_headers(places: Sequence[tuple[Path, str]]) -> Headers:
    """The first place whose headers are all there; else the first, and behind it those that have what it lacks.

    torch's own dependencies bring `cuda_fp16.h` and no crt or CCCL, beside a toolkit that has both.

    Args:
        places: include folders and what they come from, in order of preference.
    """
    found = [(folder, origin) for folder, origin in places if (folder / "cuda_fp16.h").is_file()]
    for folder, origin in found:
        headers = _headers(folder, origin)
        if not headers.absent():
            return headers
    joined = Headers((str(OWN),), "")
    for folder, origin in found:
        other = _headers(folder, origin)
        if not joined.origin or any(other.resolve(name) for name in joined.absent()):
            origins = [o for o in (joined.origin, origin) if o]
            joined = Headers((*joined.folders, *other.folders[1:]), " and ".join(origins))
    return joined


def _headers(folder: Path, origin: str) -> Headers:
    cccl = folder / "cccl"
    return Headers((str(OWN), str(folder), *((str(cccl),) if cccl.is_dir() else ())), origin)


def _places() -> list[tuple[Path, str]]:
    places = [(p / "nvidia" / "cu13" / "include", "wheels") for p in package_folders()]
    places += [(p / "include", "toolkit") for p in toolkits()]
    places += [(p / "triton" / "backends" / "nvidia" / "include", "triton") for p in package_folders()]
    return places


def heavy_includes(device: str, defines: tuple[tuple[str, str], ...], headers: Headers) -> tuple[str, ...]:
    """Toolkit headers that may be read before the candidate's first line, so that they can be precompiled.

    CUB, libcu++ and cooperative groups cost 1.5 to 2.5 s to read. They are lifted to the front only where that
    cannot change what they mean: outside of conditionals, and where no macro that configures them is defined.

    Args:
        device: the candidate's text, already accepted by `includes.check_includes`.
    """
    if any(_CONFIGURES.match(name) for name, _ in defines):
        return ()
    depth = 0
    found: list[str] = []
    for line in device.splitlines():
        text = line.lstrip()
        if not text.startswith("#"):
            continue
        word, _, rest = text[1:].lstrip().partition(" ")
        if word in ("if", "ifdef", "ifndef"):
            depth += 1
        elif word == "endif":
            depth -= 1
        elif word in ("define", "undef") and _CONFIGURES.match(rest.lstrip()):
            return ()
        match = re.match(r"#\s*include\s*[<\"]([^>\"]+)[>\"]", text)
        if match and depth == 0 and _HEAVY.fullmatch(match[1]) and headers.resolve(match[1]):
            found.append(match[1])
    # Sorted: two candidates with the same headers share one precompiled set.
    return tuple(sorted(set(found)))
