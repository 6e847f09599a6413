"""The system's C++ compiler, and what is compiled once for it: the prelude as a precompiled header, and the runtime."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workbench.core.errors import JudgeError
from workbench.runner.compiler.headers import OWN, find_headers
from workbench.runner.host.conditions import FOREIGN, MACROS, Preprocessor, list_macros
from workbench.runner.host.headers import INCLUDE, STANDARD, cuda_macros, foreign_macros
from workbench.runner.host.reserved import NEEDS, needs

HERE = Path(__file__).parent
RUNTIME = HERE / "runtime"
PRELUDE = "workbench_host.h"
WATCHED = "watched"
"""Subfolder of what is prepared for the instrumented build."""
LAYOUT = "7"
"""Raised whenever the prepared folder holds other files, or builds must not be taken from before."""
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Toolchain:
    """A C++ compiler that was found and asked."""

    compiler: str
    """Absolute path."""
    family: str
    """"gcc" or "clang"."""
    version: str
    """"g++ 12.2.0"."""
    headers: tuple[str, ...]
    """Folders with NVIDIA's headers."""
    machine: tuple[str, ...]
    """Flags that choose the instruction set."""

    @property
    def flags(self) -> tuple[str, ...]:
        """What every compilation shares; a precompiled header only fits the very same ones."""
        shared = [
            "-std=gnu++17",
            "-O1",
            "-g1",
            "-fPIC",
            "-fvisibility=hidden",
            "-ftls-model=initial-exec",
            "-fno-strict-aliasing",
            "-fwrapv",
            "-fno-delete-null-pointer-checks",
            "-fno-math-errno",
            "-ffp-contract=fast",
            "-fno-exceptions",
            "-fno-plt",
            "-fsigned-char",
            # A frame larger than a page must not step over the guard page into another thread's stack.
            "-fstack-clash-protection",
        ]
        folders = [f"-I{INCLUDE}"]
        for folder in self.headers:
            folders += ["-isystem", folder]
        return (*shared, *self.machine, *folders)

    @property
    def checking(self) -> tuple[str, ...]:
        """For candidates alone, on top of `flags`: a misaligned access is a fault, as on the device, and a local variable
        without a first value holds a huge number instead of the zero that a register happens to hold."""
        pattern = self.family == "clang" or int(self.version.split()[-1].split(".")[0] or 0) >= 12
        return ("-fsanitize=alignment", *(("-ftrivial-auto-var-init=pattern",) if pattern else ()))

    @property
    def libraries(self) -> tuple[str, ...]:
        """What a candidate is linked with: the system's own, and not the library behind `checking`, which the runtime
        replaces."""
        return ("-nodefaultlibs", "-lstdc++", "-lm", "-lpthread", "-lc", "-lgcc")

    @property
    def hints(self) -> tuple[str, ...]:
        """Flags that make it name variables which may be used before they are set, and nothing else that matters."""
        if self.family == "clang":
            names = ("uninitialized", "sometimes-uninitialized", "conditional-uninitialized")
            return ("-Wno-everything", *(f"-W{name}" for name in names))
        return ("-Wuninitialized", "-Wmaybe-uninitialized")

    @property
    def watching(self) -> tuple[str, ...]:
        """On top of `flags`: call out at each access and at each block of code. Compiled with these, linked without."""
        if self.family == "clang":
            return (
                "-fsanitize=thread",
                "-fsanitize-coverage=bb,no-prune,trace-pc",
                *("-mllvm", "-tsan-distinguish-volatile=1"),
                *("-mllvm", "-tsan-instrument-func-entry-exit=0"),
            )
        return (
            "-fsanitize=thread",
            "-fsanitize-coverage=trace-pc",
            *("--param", "tsan-distinguish-volatile=1"),
            *("--param", "tsan-instrument-func-entry-exit=0"),
            # Of a constant size it would expand them inline, which nothing sees; as calls they are renamed (assembly.py).
            *("-fno-builtin-memset", "-fno-builtin-memcpy", "-fno-builtin-memmove"),
        )

    @property
    def key(self) -> str:
        """Changes with everything that the prepared files depend on."""
        digest = hashlib.sha256()
        for part in (
            self.compiler,
            self.version,
            *self.flags,
            *self.checking,
            *self.watching,
            platform.machine(),
            *_stamps(self),
            LAYOUT,
        ):
            digest.update(part.encode() + b"\0")
        for folder in (INCLUDE, RUNTIME):
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()[:24]


def _stamps(toolchain: Toolchain) -> tuple[str, ...]:
    """When the headers that the precompiled header reads, and the compiler itself, were last changed."""
    files = [Path(toolchain.compiler)]
    files += [
        Path(f, n)
        for f in toolchain.headers
        for n in ("cuda_fp16.h", "cuda_bf16.h", "cuda_fp8.h", "vector_types.h")
    ]
    return tuple(f"{p}:{p.stat().st_mtime_ns}" for p in files if p.exists())


def _ask(path: str) -> Toolchain | None:
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    family = "clang" if "clang" in said else "gcc"
    words = said.splitlines()[0].split() if said else []
    number = next((w for w in reversed(words) if w[:1].isdigit()), "")
    headers = tuple(f for f in find_headers().folders if f != str(OWN))
    return Toolchain(
        str(Path(path)),
        family,
        f"{'clang++' if family == 'clang' else 'g++'} {number}",
        headers,
        _instruction_set(),
    )


def _instruction_set() -> tuple[str, ...]:
    """x86-64-v3 where the processor has it (fused multiply-add as on the device), else the base."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ()
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ()
    line = next((row for row in flags.splitlines() if row.startswith("flags")), "")
    needed = {"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
    return ("-march=x86-64-v3",) if needed <= set(line.split()) else ()


@cache
def _find(named: str | None) -> Toolchain | None:
    for name in [named] if named else ["g++", "clang++", "c++"]:
        path = shutil.which(name) if name else None
        found = _ask(os.path.realpath(path) if name == "c++" and path else path) if path else None
        if found:
            return found
    return None


def find_toolchain(compiler: str | None = None) -> Toolchain | None:
    """The compiler that is named (or $CXX, g++, clang++, c++ in this order); None where there is none."""
    return _find(compiler or os.environ.get("CXX") or None)


def readable_paths() -> tuple[str, ...]:
    """Folders that compiling for the host reads, for the sandbox of the process that does it."""
    toolchain = find_toolchain()
    return (str(HERE), *(toolchain.headers if toolchain else ()))


@dataclass(frozen=True)
class Prepared:
    """A folder with the prelude precompiled and the runtime compiled."""

    toolchain: Toolchain
    folder: Path

    @property
    def include(self) -> tuple[str, ...]:
        """Flags that read the precompiled prelude before anything else."""
        if self.toolchain.family == "clang":
            return ("-include-pch", str(self.folder / f"{PRELUDE}.pch"))
        return ("-include", str(self.folder / PRELUDE))

    @property
    def watching(self) -> tuple[str, ...]:
        """As `include`, and everything else that compiles for the instrumented build."""
        folder = self.folder / WATCHED
        header = (
            ("-include-pch", str(folder / f"{PRELUDE}.pch"))
            if self.toolchain.family == "clang"
            else ("-include", str(folder / PRELUDE))
        )
        return (*self.toolchain.watching, *header)

    @property
    def can_watch(self) -> bool:
        """Whether this compiler makes instrumented builds."""
        return (self.folder / WATCHED / "complete").exists()

    @property
    def watching_runtime(self) -> Path:
        return self.folder / WATCHED / "runtime.o"

    @property
    def runtime(self) -> Path:
        return self.folder / "runtime.o"

    @property
    def needs(self) -> frozenset[str]:
        """Functions of other libraries that the runtime calls."""
        return frozenset((self.folder / NEEDS).read_text().split())

    def preprocessor(self, folder: Path, cuda_arch: int = 900) -> Preprocessor:
        """What tells which macros a candidate asks for; its files go to `folder`."""
        command = (self.toolchain.compiler, *self.toolchain.machine)
        return Preprocessor(
            frozenset((self.folder / MACROS).read_text().split()),
            frozenset((self.folder / FOREIGN).read_text().split()),
            self.toolchain.headers,
            command if self.toolchain.family == "gcc" else None,
            folder,
            compiler_environment(folder),
            cuda_arch,
        )


def prepare(folder: Path, toolchain: Toolchain | None = None) -> Prepared:
    """Compile the prelude and the runtime into a subfolder of `folder`, once (4 s; nothing where it is there).

    Raises:
        JudgeError: no compiler, no CUDA headers, or they do not work together.
    """
    toolchain = toolchain or find_toolchain()
    if toolchain is None:
        raise JudgeError(
            "There is no C++ compiler for the host target.", do="Install g++ or clang++, or set CXX."
        )
    if not toolchain.headers:
        raise JudgeError(
            "The CUDA headers are missing.", do="pip install nvidia-cuda-runtime nvidia-cuda-crt"
        )
    target = folder / f"host-{toolchain.key}"
    if (target / "complete").exists():
        return Prepared(toolchain, target)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="host-") as name:
        scratch = Path(name)
        _prepare_into(toolchain, scratch, (), ())
        _write_macros(toolchain, scratch)
        watched = scratch / WATCHED
        watched.mkdir(mode=0o755)
        # An old compiler may lack what this needs: then there is no instrumented build, and all else works.
        with contextlib.suppress(JudgeError, subprocess.SubprocessError):
            _prepare_into(toolchain, watched, toolchain.watching, ("-DWB_INSTRUMENTED",))
            (watched / "complete").touch()
        (scratch / NEEDS).write_text(needs(scratch.rglob("runtime.o")))
        (scratch / "complete").touch()
        scratch.chmod(0o755)
        try:
            scratch.rename(target)
            scratch.mkdir()  # for TemporaryDirectory to remove
        except OSError:
            if not (target / "complete").exists():
                raise
    return Prepared(toolchain, target)


def _prepare_into(
    toolchain: Toolchain, folder: Path, flags: tuple[str, ...], defines: tuple[str, ...]
) -> None:
    if toolchain.family == "clang":  # its file names the headers that it was made from, by path
        header, output, more = str(INCLUDE / PRELUDE), f"{PRELUDE}.pch", ["-Xclang", "-fno-pch-timestamp"]
    else:  # its file is found beside the header's name
        shutil.copy(INCLUDE / PRELUDE, folder / PRELUDE)
        header, output, more = PRELUDE, f"{PRELUDE}.gch", []
    _compile(
        toolchain, folder, [*toolchain.checking, *flags, "-x", "c++-header", header, "-o", output, *more]
    )
    # The runtime's own speed matters more than how long it takes to compile.
    _compile(toolchain, folder, [*defines, "-O2", "-c", str(RUNTIME / "runtime.cpp"), "-o", "runtime.o"])


def _write_macros(toolchain: Toolchain, folder: Path) -> None:
    shims = (p for p in INCLUDE.rglob("*.h") if not p.name.startswith("wb_"))
    names = [PRELUDE, *STANDARD, *sorted(str(p.relative_to(INCLUDE)) for p in shims)]
    (folder / "macros.h").write_text("".join(f"#include <{name}>\n" for name in names))
    command = [toolchain.compiler, *toolchain.flags, "-x", "c++", "macros.h"]
    try:
        known = list_macros(command, folder, compiler_environment(folder))
    except subprocess.SubprocessError as error:
        raise JudgeError(f"{toolchain.version} cannot list its macros: {error}.") from None
    cuda = cuda_macros(toolchain.headers)
    # Reserved names of NVIDIA's guard its headers; those that tell compilers apart are refused as reserved ones.
    open_ = frozenset(name for name in cuda if not name.startswith("_"))
    (folder / MACROS).write_text("\n".join(sorted(known | open_)) + "\n")
    (folder / FOREIGN).write_text("\n".join(sorted(foreign_macros(known, cuda))) + "\n")


def _compile(toolchain: Toolchain, folder: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [toolchain.compiler, *toolchain.flags, "-w", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        env=compiler_environment(folder),
    )
    if done.returncode:
        raise JudgeError(
            f"{toolchain.version} cannot compile the host target's own headers: {done.stderr.strip()[:2000]}",
            do="Install another compiler, or set CXX.",
        )


def compiler_environment(folder: Path) -> dict[str, str]:
    """No locale (diagnostics are parsed), no user settings that change what is compiled; temporary files in `folder`."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "TMPDIR": str(folder),
        "HOME": str(folder),
    }
