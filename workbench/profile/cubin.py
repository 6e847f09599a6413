"""What a cubin says of its kernels: parameters, registers, stack, shared and constant memory, symbols.

A cubin is an ELF file. NVIDIA documents neither `.nv.info` nor its attributes; the numbers below were read from
cubins of NVRTC 13.0 and 13.5 and agree with what ptxas prints. The bytes may come from a hostile process: every
size is checked, and what does not parse raises `BadCubin`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

MAX_SYMBOLS = 200_000

# EIATTR_* numbers of .nv.info
_PARAM_CBANK = 0x0A
_MAX_THREADS = 0x05
_REQUIRED_THREADS = 0x10
_FRAME_SIZE = 0x11
_MIN_STACK_SIZE = 0x12
_KPARAM_INFO = 0x17
_MAX_STACK_SIZE = 0x23
_REGCOUNT = 0x2F
_WITH_PAYLOAD = 0x04


class BadCubin(ValueError):
    """The bytes are not a cubin that can be read."""


@dataclass(frozen=True)
class Symbol:
    """One entry of the symbol table."""

    name: str
    kind: str
    """"STT_FUNC", "STT_OBJECT", ..."""
    section: str
    """Name of its section; "" where it is undefined."""
    value: int
    size: int


@dataclass(frozen=True)
class Relocation:
    """A place in a section that a symbol's address is written to at load."""

    offset: int
    symbol: str
    addend: int


@dataclass(frozen=True)
class ParameterPlace:
    """Where a kernel's parameter lies, bytes from the start of the parameter area."""

    ordinal: int
    offset: int
    size: int


@dataclass
class CubinKernel:
    """A kernel entry and what `.nv.info` says of it."""

    symbol: str
    parameters: tuple[ParameterPlace, ...] = ()
    parameter_base: int = 0
    """Offset of the first parameter in constant bank 0."""
    parameter_bytes: int = 0
    registers: int = 0
    stack_bytes: int = 0
    shared_section_bytes: int = 0
    """Size of `.nv.shared.<kernel>`, which on sm_90 and later counts the 1 KiB that the system reserves."""
    code_bytes: int = 0
    max_threads: int = 1024


@dataclass
class Cubin:
    """A parsed cubin."""

    arch: str
    kernels: dict[str, CubinKernel] = field(default_factory=dict)
    """By symbol."""
    symbols: tuple[Symbol, ...] = ()
    sections: dict[str, int] = field(default_factory=dict)
    """Section name to size in bytes."""
    relocations: dict[str, tuple[Relocation, ...]] = field(default_factory=dict)
    """By the name of the section that is patched."""

    contents: dict[str, bytes] = field(default_factory=dict)
    """Of the kernels' own constants (`.nv.constant2.<kernel>`) and of initialised globals, by section name."""

    def constant_bytes(self, symbol: str) -> int:
        """Constant memory that the source asked for: `__constant__` (bank 3) and the kernel's own literals (bank 2).

        Bank 4 is left out: it holds the address of every global that any header declares.
        """
        return self.sections.get(f".nv.constant2.{symbol}", 0) + self.sections.get(".nv.constant3", 0)


def read_cubin(data: bytes) -> Cubin:
    """Parse a cubin.

    Raises:
        BadCubin: it is no CUDA ELF file, or damaged.
    """
    try:
        return _read(data)
    except BadCubin:
        raise
    except (
        ELFError,
        struct.error,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
        OverflowError,
    ) as error:
        raise BadCubin(f"not a readable cubin: {error}") from None


def _read(data: bytes) -> Cubin:
    elf = ELFFile(io.BytesIO(data))
    if elf["e_machine"] not in ("EM_CUDA", 190):
        raise BadCubin("not a cubin: the ELF file is for another machine")
    sections = list(elf.iter_sections())
    if len(sections) > MAX_SYMBOLS:
        raise BadCubin("too many sections")
    symbols: list[Symbol] = []
    for table in sections:
        if isinstance(table, SymbolTableSection):
            if table.num_symbols() > MAX_SYMBOLS:
                raise BadCubin("too many symbols")
            symbols = [_symbol(entry, sections) for entry in table.iter_symbols()]
    cubin = Cubin(
        arch=_arch(elf),
        symbols=tuple(symbols),
        sections={s.name: s["sh_size"] for s in sections},
    )
    for section in sections:
        if (
            section.name.startswith((".nv.constant2.", ".nv.global.init"))
            and section["sh_type"] != "SHT_NOBITS"
        ):
            cubin.contents[section.name] = section.data()
        if isinstance(section, RelocationSection):
            target = section.name.removeprefix(".rela").removeprefix(".rel")
            more = tuple(_relocations(section, symbols))
            cubin.relocations[target] = cubin.relocations.get(target, ()) + more
    everyone = next((s.data() for s in sections if s.name == ".nv.info"), b"")
    for section in sections:
        if section.name.startswith(".nv.info."):
            name = section.name.removeprefix(".nv.info.")
            text = f".text.{name}"
            kernel = CubinKernel(name, code_bytes=cubin.sections.get(text, 0))
            kernel.shared_section_bytes = cubin.sections.get(f".nv.shared.{name}", 0)
            _apply_own(kernel, section.data())
            cubin.kernels[name] = kernel
    _apply_common(cubin, everyone, symbols)
    return cubin


def _arch(elf: ELFFile) -> str:
    # ELF ABI version 8 (CUDA 13) holds the number in bits 8 to 15, version 7 in bits 0 to 7.
    flags = elf["e_flags"]
    number = (flags >> 8) & 0xFF if elf["e_ident"]["EI_ABIVERSION"] >= 8 else flags & 0xFF
    return f"sm_{number}"


def _symbol(entry: Any, sections: list[Any]) -> Symbol:
    index = entry["st_shndx"]
    section = sections[index].name if isinstance(index, int) and index < len(sections) else ""
    return Symbol(entry.name, str(entry["st_info"]["type"]), section, entry["st_value"], entry["st_size"])


def _relocations(section: RelocationSection, symbols: list[Symbol]) -> Iterator[Relocation]:
    if section.num_relocations() > MAX_SYMBOLS:
        raise BadCubin("too many relocations")
    for entry in section.iter_relocations():
        symbol = symbols[entry["r_info_sym"]]
        name = symbol.name if symbol.kind != "STT_SECTION" else symbol.section
        yield Relocation(entry["r_offset"], name, entry["r_addend"] if entry.is_RELA() else 0)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(attribute, payload) of an `.nv.info` section."""
    at = 0
    while at + 4 <= len(data):
        form, attribute = data[at], data[at + 1]
        if form == _WITH_PAYLOAD:
            (size,) = struct.unpack_from("<H", data, at + 2)
            payload = data[at + 4 : at + 4 + size]
            if len(payload) != size:
                raise BadCubin(".nv.info is cut short")
            yield attribute, payload
            at += 4 + size
        else:
            yield attribute, data[at + 2 : at + 4]
            at += 4


def _apply_own(kernel: CubinKernel, data: bytes) -> None:
    places: list[ParameterPlace] = []
    for attribute, payload in _attributes(data):
        if attribute == _KPARAM_INFO:
            _, ordinal, offset, bits = struct.unpack("<IHHI", payload)
            places.append(ParameterPlace(ordinal, offset, bits >> 18))
        elif attribute == _PARAM_CBANK:
            _, kernel.parameter_base, kernel.parameter_bytes = struct.unpack("<IHH", payload)
        elif attribute in (_MAX_THREADS, _REQUIRED_THREADS):
            x, y, z = struct.unpack_from("<III", payload)
            kernel.max_threads = min(kernel.max_threads, x * y * z)
    kernel.parameters = tuple(sorted(places, key=lambda p: p.ordinal))
    if [p.ordinal for p in kernel.parameters] != list(range(len(places))):
        raise BadCubin(f"the parameters of {kernel.symbol} are not numbered from 0")


def _apply_common(cubin: Cubin, data: bytes, symbols: list[Symbol]) -> None:
    for attribute, payload in _attributes(data):
        if attribute not in (_REGCOUNT, _FRAME_SIZE, _MIN_STACK_SIZE, _MAX_STACK_SIZE):
            continue
        index, value = struct.unpack_from("<II", payload)
        kernel = cubin.kernels.get(symbols[index].name)
        if kernel is None:
            continue
        if attribute == _REGCOUNT:
            # The upper half carries other facts in newer cubins.
            kernel.registers = value & 0xFFFF
        else:
            kernel.stack_bytes = max(kernel.stack_bytes, value)
