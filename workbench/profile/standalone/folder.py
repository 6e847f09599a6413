"""The folder of a standalone program: its files, and how one comes to be whole or not at all.

The files are written to a new folder beside the one that is wanted, and take its place when all are there. A folder of
ours (`standalone.json` says so) is made again; what else lies in it stays. Any other folder that is not empty is
refused, and so is one of ours in which a file was edited, unless it is forced.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from workbench.core.errors import UsageError
from workbench.profile.standalone.program import Program
from workbench.profile.standalone.quoting import SYMBOL
from workbench.profile.standalone.source import main_cpp
from workbench.profile.standalone.texts import (
    BINARY,
    CUBIN,
    DEBUG_CUBIN,
    INPUTS,
    NVCC_SOURCE,
    OUTPUTS,
    SOURCE,
    makefile,
    nvcc_source,
    readme,
)

MANIFEST = "standalone.json"
_MADE = (BINARY, DEBUG_CUBIN)
"""What make leaves, and the next program must not find."""
_MAX_MANIFEST = 4 << 20


class Manifest(msgspec.Struct, frozen=True):
    """`standalone.json`: what was written, so that it is known again."""

    workbench_standalone: int
    """1."""
    program: dict[str, object]
    """What a reader or a script wants to know of it: size, seed, architecture, kernels, steps, results."""
    files: dict[str, str]
    """Path in the folder to the SHA-256 of its bytes; "" for inputs (they may be gigabytes) and for results to come."""


def write_files(program: Program, folder: Path) -> None:
    """Write everything but the inputs' bytes into `folder`, which is there already.

    Raises:
        ValueError: a name in the program cannot have come from our own compiler.
        OSError: the disk does not take it.
    """
    for kernel in program.kernels:
        if not SYMBOL.fullmatch(kernel.symbol):
            raise ValueError(f"{kernel.symbol[:80]!r} is no symbol")
    for name, text in program.options.defines:
        if not f"{name}{text}".isprintable() or "\\" in text:
            raise ValueError(f"the text of {name[:80]!r} is no macro of one line")
    files = {
        "main.cpp": main_cpp(program).encode(),
        "driver.h": Path(__file__).with_name("driver.h").read_bytes(),
        "Makefile": makefile(program).encode(),
        "README.txt": readme(program).encode(),
        CUBIN: program.cubin,
        SOURCE: program.device.encode(),
        NVCC_SOURCE: nvcc_source(program).encode(),
        # No .py: a candidate's text that Python would import, were it started here.
        "plan.txt": program.plan.encode(),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    known = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    known |= {buffer.file: "" for buffer in program.buffers if buffer.file}
    known |= {saved.file: "" for saved in program.saved}
    manifest = Manifest(1, _described(program), known)
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    (folder / MANIFEST).write_bytes(encoded + b"\n")


def _described(program: Program) -> dict[str, object]:
    """The program without its texts and its cubin, as JSON may hold it."""
    dropped = ("cubin", "device", "plan")
    described = {n: value for n, value in msgspec.to_builtins(program).items() if n not in dropped}
    encodable = _encodable(described)
    assert isinstance(encodable, dict)
    return encodable


def _encodable(value: object) -> object:
    """`value` with lone surrogates (bytes of a file's name that are not UTF-8) written out."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(name): _encodable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(each) for each in value]
    return value


@contextlib.contextmanager
def replacing(target: Path, *, force: bool = False) -> Iterator[Path]:
    """A new, empty folder that becomes `target` when the block ends, and is removed where it raises.

    Args:
        force: also take the place of a folder that is not ours, or in which files of ours were edited. Files that are
            not part of a program stay in any case, but for those of the same names.

    Raises:
        UsageError: `target` may not be written, or is something else; before the block runs where that is known.
    """
    target = Path(os.path.realpath(target))
    _refuse(target, force)
    try:
        new = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".new", dir=target.parent))
    except OSError as error:
        raise UsageError(
            f"{target.parent} cannot be written to: {error.strerror}.", do="Name another folder."
        ) from None
    try:
        # Only the owner may enter what mkdtemp makes; a folder that mkdir makes is as the user's umask has it.
        mask = os.umask(0)
        os.umask(mask)
        new.chmod(0o777 & ~mask)
        yield new
        _take_place(new, target)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _refuse(target: Path, force: bool) -> None:
    if not target.parent.is_dir():
        raise UsageError(f"There is no folder {target.parent}.", do="Make it first.")
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target} is a file.", do="Name a folder.")
    if target.samefile("."):
        # Another folder takes its place, and a shell in this one would be left behind.
        raise UsageError("That is the current folder.", do="Name one in it, for example -o program.")
    try:
        empty = not any(target.iterdir())
    except OSError as error:
        raise UsageError(f"{target} cannot be read: {error.strerror}.", do="Name another folder.") from None
    if empty or force:
        return
    manifest = _manifest(target)
    if manifest is None:
        raise UsageError(
            f"{target} is not empty, and no standalone program.", do="Name another folder, or add --force."
        )
    for name, digest in manifest.files.items():
        with contextlib.suppress(OSError):
            # A name in a manifest is a file's content: it leads out of the folder at no time.
            if digest and Path(name).name == name and _digest(target / name) != digest:
                raise UsageError(
                    f"{target / name} was edited since it was made.",
                    do="Name another folder, or add --force.",
                )


def _manifest(folder: Path) -> Manifest | None:
    """What we wrote there; None where we did not."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            data = file.read(_MAX_MANIFEST)
        manifest = msgspec.json.decode(data, type=Manifest)
    except (OSError, msgspec.DecodeError, RecursionError):
        return None
    return manifest if manifest.workbench_standalone == 1 else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _take_place(new: Path, target: Path) -> None:
    """Put `new` where `target` is, and what was the user's own there back into it."""
    if not target.exists():
        _rename(new, target)
        return
    manifest = _manifest(target)
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    _rename(target, old)
    try:
        _rename(new, target)
    except UsageError:
        os.rename(old, target)
        raise
    try:
        _keep(old, target, _ours(manifest) if manifest is not None else set(), "")
    except OSError as error:
        raise UsageError(
            f"The program is in {target}, but what else was there could not be moved ({error.strerror}) and is in {old}.",
            do="Move it by hand.",
        ) from None
    shutil.rmtree(old, ignore_errors=True)


def _ours(manifest: Manifest) -> set[str]:
    """What a program of before wrote, and its results. A manifest cannot name anything else away."""
    folders = (f"{INPUTS}/", f"{OUTPUTS}/")
    named = {name for name, digest in manifest.files.items() if digest or name.startswith(folders)}
    return {MANIFEST, *_MADE} | named


def _keep(old: Path, new: Path, ours: set[str], under: str) -> None:
    """Move what is not `ours` from `old` to `new`, where nothing of its name is."""
    for entry in sorted(old.iterdir()):
        name, kept = under + entry.name, new / entry.name
        if name in ours:
            continue
        if not os.path.lexists(kept) and not any(known.startswith(f"{name}/") for known in ours):
            os.rename(entry, kept)
        elif entry.is_dir() and not entry.is_symlink():
            if not os.path.lexists(kept) and all(f"{name}/{e.name}" in ours for e in entry.iterdir()):
                continue
            kept.mkdir(exist_ok=True)
            _keep(entry, kept, ours, f"{name}/")


def _rename(what: Path, to: Path) -> None:
    try:
        os.rename(what, to)
    except OSError as error:
        raise UsageError(f"{to} cannot be replaced: {error.strerror}.", do="Name another folder.") from None
