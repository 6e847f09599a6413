"""Machine code with source lines: nvdisasm's text as instructions, with the chain of functions inlined at each.

nvdisasm is NVIDIA's and reads a file that a hostile source shaped; `disassembler` runs it confined. Nothing here needs a
GPU.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import site
import sys
import tempfile
import zlib
from collections import OrderedDict
from functools import cache
from pathlib import Path

import msgspec

from workbench.core.errors import JudgeError
from workbench.core.folders import cache_folder
from workbench.profile.cubin import BadCubin, read_cubin
from workbench.profile.disassembler import AGAIN, Disassembler

_KEPT = 32
MAX_KEPT_FILES = 2000
"""Answers on disk; a small kernel's takes 2 KB."""
_FORMAT = 5
_INSTRUCTION_BYTES = 16
"""Since Volta."""

_SECTION = re.compile(r"^\s*\.section\s+(\.text\.\S+?),")
_LABEL = re.compile(r"^(\.?[\w$.]+):\s*$")
_FUNCTION_SIZE = re.compile(r"^\s*\.type\s+(\S+),@function")
_INSTRUCTION = re.compile(
    r"^\s*/\*([0-9a-f]{4,})\*/\s+(?:\{\s*)?(?:@(!?U?P\w+)\s+)?([A-Z][\w.]*)\s*(.*?)\s*;"
)
_LINE = re.compile(r"^\s*//## File \"([^\"]*)\", line (\d+)(?: inlined at \"([^\"]*)\", line (\d+))?")


class SourceLine(msgspec.Struct, frozen=True):
    """A place in a source file."""

    file: str
    line: int


class Instruction(msgspec.Struct, frozen=True):
    """One machine instruction."""

    offset: int
    """Bytes from the start of its section."""
    opcode: str
    """With its modifiers: "LDG.E.64"."""
    operands: str
    predicate: str = ""
    """"P0", "!P0", "UP1"; "" where it always runs."""
    chain: tuple[SourceLine, ...] = ()
    """Where it comes from, innermost first; each next one is where that function was inlined."""

    @property
    def name(self) -> str:
        """The opcode without modifiers."""
        return self.opcode.partition(".")[0]

    def __str__(self) -> str:
        guard = f"@{self.predicate} " if self.predicate else ""
        return f"{guard}{self.opcode} {self.operands}".strip()


class SassFunction(msgspec.Struct, frozen=True):
    """The code of one section: a kernel, or a device function that was not inlined."""

    symbol: str
    instructions: tuple[Instruction, ...]
    also: tuple[str, ...] = ()
    """Other functions that share its section: the assembler's own (division, square root)."""
    labels: tuple[tuple[str, int], ...] = ()
    """Name of each label, and the number of the instruction that it stands before."""
    label_offsets: tuple[int, ...] = ()
    """Where each of `labels` is, bytes from the start of the section: before fillers that are not kept, too."""
    code_bytes: int = 0
    """Of the section, as far as its lines follow one another; the fillers (NOP) count and are not kept."""


@cache
def find_nvdisasm() -> str | None:
    """Path of nvdisasm: WORKBENCH_NVDISASM, NVIDIA's wheel, a toolkit, triton's package, PATH."""
    packages = [Path(p) for p in dict.fromkeys([*site.getsitepackages(), *sys.path]) if p]
    toolkits = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda", "/opt/cuda"]
    places = [Path(os.environ.get("WORKBENCH_NVDISASM", "/nonexistent"))]
    places += [p / "nvidia" / "cu13" / "bin" / "nvdisasm" for p in packages]
    places += [Path(t) / "bin" / "nvdisasm" for t in toolkits if t]
    places += [p / "triton" / "backends" / "nvidia" / "bin" / "nvdisasm" for p in packages]
    for place in places:
        if place.is_file() and os.access(place, os.X_OK):
            return str(place)
    return shutil.which("nvdisasm")


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[SassFunction, ...]).decode
_recent: OrderedDict[bytes, tuple[SassFunction, ...]] = OrderedDict()


def disassemble(cubin: bytes) -> tuple[SassFunction, ...]:
    """The functions of a cubin; the last few answers are kept.

    Raises:
        JudgeError: nvdisasm is not installed, cannot read this cubin, or left some of its code out.
    """
    key = hashlib.sha256(cubin).digest()
    found = _recent.get(key)
    if found is None:
        kept = _kept_file(key)
        found = _load(kept)
        if found is None:
            found = parse(_run(cubin))
            _check_complete(found, cubin)
            _save(kept, found)
    _recent.pop(key, None)  # to the end; another thread may have forgotten it meanwhile
    _recent[key] = found
    while len(_recent) > _KEPT:
        _recent.popitem(last=False)
    return found


def forget() -> None:
    """Drop the answers kept in memory; those on disk stay."""
    _recent.clear()


def _kept_file(key: bytes) -> Path:
    """Where the answer for a cubin is kept: nvdisasm takes 0.3 s to start, whatever it reads."""
    tool = find_nvdisasm() or ""
    stamp = os.stat(tool).st_mtime_ns if tool else 0
    name = hashlib.sha256(key + f"{tool}:{stamp}:{_FORMAT}".encode()).hexdigest()
    return cache_folder() / "sass" / name


def _load(path: Path) -> tuple[SassFunction, ...] | None:
    try:
        data = path.read_bytes()
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        os.utime(path)
        return _decode(zlib.decompress(data[32:]))
    except (OSError, zlib.error, msgspec.MsgspecError):
        return None


def _save(path: Path, functions: tuple[SassFunction, ...]) -> None:
    body = zlib.compress(_encode(functions), 1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(body).digest() + body)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
        entries = sorted((p.stat().st_mtime, p) for p in path.parent.iterdir())
        for _, old in entries[: max(len(entries) - MAX_KEPT_FILES, 0)]:
            old.unlink(missing_ok=True)
    except OSError:
        return


@cache
def disassembler(tool: str) -> Disassembler:
    """The confined process that runs this nvdisasm."""
    found = Disassembler(tool)
    atexit.register(found.close)
    return found


def warm() -> None:
    """Start the confined process, so that the first cubin does not wait for it."""
    tool = find_nvdisasm()
    if tool is not None:
        disassembler(tool).warm()


def _run(cubin: bytes) -> str:
    tool = find_nvdisasm()
    if tool is None:
        raise JudgeError(
            "There is no nvdisasm, so machine code cannot be audited.", do="Install nvidia-cuda-nvdisasm."
        )
    return disassembler(tool).run(cubin)


def _check_complete(functions: tuple[SassFunction, ...], cubin: bytes) -> None:
    """Every byte of code was read as an instruction: one that is passed over could do anything."""
    try:
        sections = read_cubin(cubin).sections
    except BadCubin as error:
        raise JudgeError(f"The cubin cannot be audited: {error}.", do=AGAIN) from None
    read = {f".text.{function.symbol}": function.code_bytes for function in functions}
    there = {name: size for name, size in sections.items() if name.startswith(".text") and size}
    if len(read) != len(functions) or read != there:
        wrong = sorted({name for name in read | there if read.get(name) != there.get(name)})
        raise JudgeError(
            f"nvdisasm did not print all code of {', '.join(wrong[:3]) or 'the cubin'}.", do=AGAIN
        )


def parse(text: str) -> tuple[SassFunction, ...]:
    """Instructions of nvdisasm's text, by section.

    Raises:
        JudgeError: the instructions of a section do not follow one another.
    """
    found: list[SassFunction] = []
    symbol = ""
    also: list[str] = []
    body: list[Instruction] = []
    labels: list[tuple[str, int]] = []
    places: list[int] = []
    chain: list[SourceLine] = []
    fresh = True
    reached = 0

    def flush() -> None:
        if symbol and reached:
            found.append(
                SassFunction(symbol, tuple(body), tuple(also), tuple(labels), tuple(places), reached)
            )

    for line in text.splitlines():
        if (place := _LINE.match(line)) is not None:
            if fresh:
                chain, fresh = [], False
            here = SourceLine(place[1], int(place[2]))
            if not chain or chain[-1] != here:
                chain.append(here)
            if place[3]:
                chain.append(SourceLine(place[3], int(place[4])))
        elif (match := _INSTRUCTION.match(line)) is not None:
            fresh = True
            if int(match[1], 16) != reached:
                raise JudgeError(
                    f"nvdisasm's line for {reached:#x} of `{symbol}` cannot be read, so the code cannot be audited.",
                    do=AGAIN,
                )
            reached += _INSTRUCTION_BYTES
            if match[3] != "NOP":
                body.append(Instruction(int(match[1], 16), match[3], match[4], match[2] or "", tuple(chain)))
        elif (label := _LABEL.match(line)) is not None:
            labels.append((label[1], len(body)))
            places.append(reached)
        elif (section := _SECTION.match(line)) is not None:
            flush()
            # The line stays: nvdisasm names a place only where it differs from the last one, across sections too.
            symbol, also, body, fresh = section[1].removeprefix(".text."), [], [], True
            labels, places, reached = [], [], 0
        elif (kind := _FUNCTION_SIZE.match(line)) is not None and kind[1] != symbol:
            also.append(kind[1])
    flush()
    return tuple(found)
