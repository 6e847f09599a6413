"""Compile a candidate's device code for the CPU: one shared object with an entry for each launched kernel."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from workbench.core.build import BuildCause, BuildFailure, HostBuild
from workbench.core.errors import JudgeError
from workbench.core.plan import CompileOptions, Diagnostic
from workbench.runner.host.assembly import Pattern, watched
from workbench.runner.host.conditions import asks_for_compiler
from workbench.runner.host.headers import shared_includes
from workbench.runner.host.names import LIBRARY_NAMES, conflicting, tells_its_name
from workbench.runner.host.reserved import interposed, reserved
from workbench.runner.host.rewrite import Rewritten, rewrite, unsupported
from workbench.runner.host.sites import annotate
from workbench.runner.host.toolchain import Prepared, compiler_environment, prepare
from workbench.runner.host.unset import refilled

TIMEOUT_S = 30
_OUT_OF_TIME = re.compile(r"(CPU time limit exceeded|Cputime limit exceeded)", re.IGNORECASE)
"""What gcc's and clang's drivers say of a compiler that met the processor limit of its process."""
KILLED = re.compile(r"^[^:\n]+: (?:fatal )?error: .*\bKilled\b", re.MULTILINE)
"""What the drivers say of a compiler that the system ended, as where memory is short."""
CUDA_ARCH = 900
"""`__CUDA_ARCH__` in the precompiled prelude."""
_ENTRIES = "workbench-entries"
_NAME = re.compile(r"[A-Za-z_]\w*(::[A-Za-z_]\w*)* *(<[A-Za-z0-9_:<>, *&.+\-]*>)?", re.ASCII)
_DEFINE = re.compile(r"[A-Za-z_]\w*(\([\w, .]*\))?", re.ASCII)
_DIAGNOSTIC = re.compile(
    r"^(?P<file>[^:\n]+):(?P<line>\d+):(?:(?P<column>\d+):)? (?P<kind>fatal error|error|warning|note): (?P<text>.*)$"
)


def compile_host(
    device_text: str,
    file_name: str,
    options: CompileOptions,
    kernels: Sequence[str],
    workdir: str | Path,
    *,
    prepared: Prepared | None = None,
    debug: bool = False,
    instrumented: bool = False,
    cuda_arch: int = CUDA_ARCH,
    timeout_s: float = TIMEOUT_S,
) -> HostBuild | BuildFailure:
    """Compile `device_text` (the plan blanked, so that lines are the file's own) with the system's C++ compiler.

    Args:
        file_name: the candidate's file name, as diagnostics print it.
        options: defines; `fast_math` and `max_registers` change nothing here.
        kernels: names as the plan launches them; each gets an exported entry.
        workdir: a folder for the compiler's files; nothing outside of it is written.
        prepared: from `toolchain.prepare`, made once; None: in `workdir`'s parent, at the first call (1.5 s).
        debug: no optimisation of what a person wants to see; the same semantics.
        cuda_arch: what `__CUDA_ARCH__` is in the candidate's text.
        instrumented: a build whose every access of memory is seen (`accesses.py`); several times slower to run.
    """
    started = time.monotonic()
    folder = Path(workdir)
    if prepared is None:
        try:
            prepared = prepare(folder.resolve().parent)
        except JudgeError as error:
            return BuildFailure(cause="missing", diagnostics=(Diagnostic(str(error)),))
    version = prepared.toolchain.version

    def failure(cause: BuildCause, *diagnostics: Diagnostic) -> BuildFailure:
        return BuildFailure(
            cause=cause,
            diagnostics=diagnostics,
            version=version,
            seconds=time.monotonic() - started,
        )

    for kernel in kernels:
        if len(kernel) > 512 or not _NAME.fullmatch(kernel):
            return failure(
                "source",
                Diagnostic(f'{kernel!r} is not a kernel\'s name; give an extern "C" name or name<arguments>'),
            )
    for name, value in options.defines:
        if not _DEFINE.fullmatch(name) or re.search(r"[\n\r]|\\\s*$", value):
            return failure("source", Diagnostic(f"the define {name!r} cannot be written as one line"))
    if instrumented and not prepared.can_watch:
        return failure("missing", Diagnostic(f"{version} cannot make an instrumented build"))
    included, odd = shared_includes(device_text, prepared.toolchain.headers)
    if needs_cuda := unsupported(device_text) or odd:
        return failure("unsupported", needs_cuda)
    try:
        preprocessor = prepared.preprocessor(folder, cuda_arch)
        asked = asks_for_compiler(device_text, options.defines, preprocessor)
        asked = asked or reserved(device_text, preprocessor, options.defines)
    except subprocess.TimeoutExpired:
        return failure("timeout", Diagnostic("the preprocessor was not done after some seconds"))
    if asked:
        return failure("unsupported", asked)
    renamed = [kernel for kernel in kernels if kernel in LIBRARY_NAMES]
    if renamed and (told := tells_its_name(device_text, renamed[0], options, preprocessor)):
        return failure("unsupported", told)
    changed = rewrite(included)
    (folder / "candidate.cpp").write_text(_assemble(changed, file_name, options, kernels, cuda_arch))
    written = "\n".join([device_text, *(value for _, value in options.defines)])
    try:
        ok, said = _compile(prepared, folder, written, instrumented=instrumented, timeout_s=timeout_s)
    except subprocess.TimeoutExpired:
        return failure("timeout", Diagnostic(f"the host compiler was not done after {timeout_s:g} s"))
    if not ok:
        if _OUT_OF_TIME.search(said):
            return failure("timeout", Diagnostic("the host compiler used up its processor time"))
        diagnostics = _diagnostics(said, file_name, changed, kernels)
        cause: BuildCause = (
            "memory" if "out of memory" in said or "cannot allocate" in said.lower() else "source"
        )
        if cause == "source" and (conflict := conflicting(diagnostics, kernels, device_text)):
            return failure("unsupported", conflict)
        if KILLED.search(said):
            cause, diagnostics = "died", [Diagnostic("the host compiler was killed; is there enough memory?")]
        if (
            cause == "source"
            and diagnostics
            and all(_is_cuda_only(d) for d in diagnostics if d.severity == "error")
        ):
            first = next(d for d in diagnostics if d.severity == "error")
            named = re.search(r"[‘'`]([^’']+)[’']", first.message)
            what = named[1] if named else "this"
            return failure(
                "unsupported",
                Diagnostic(f"{what} at line {first.line}; this needs cuda", first.line, first.column),
            )
        return failure(
            cause, *(diagnostics or [Diagnostic(said.strip()[-2000:] or "the host compiler failed")])
        )
    library = (folder / "candidate.so").read_bytes()
    if taken := interposed(library, prepared.needs):
        return failure("unsupported", taken)
    return HostBuild(
        library=library,
        entries={kernel: f"wb_entry_{i}" for i, kernel in enumerate(kernels)},
        diagnostics=tuple(_uninitialised(said, file_name, changed)[:32]),
        version=version,
        seconds=time.monotonic() - started,
        instrumented=instrumented,
    )


def _compile(
    prepared: Prepared, folder: Path, written: str, *, instrumented: bool, timeout_s: float
) -> tuple[bool, str]:
    """Make candidate.so of candidate.cpp; whether that went well, and what the compiler said.

    Args:
        written: what the candidate wrote itself, for `Pattern`.

    Raises:
        subprocess.TimeoutExpired: one of its steps was not done in time.
    """
    toolchain = prepared.toolchain
    clang = toolchain.family == "clang"
    said: list[bytes] = []

    def run(*arguments: str) -> bool:
        done = subprocess.run(
            [toolchain.compiler, *arguments],
            cwd=folder,
            env=compiler_environment(folder),
            # No DEVNULL: a confined process may not open it on every machine, and 0 and 1 lead there already.
            stderr=subprocess.PIPE,
            timeout=timeout_s,
        )
        said.append(done.stderr[: 1 << 20])
        return not done.returncode

    def change(name: str, changed: Callable[[str], str]) -> None:
        file = folder / name
        file.write_text(changed(file.read_text(errors="surrogateescape")), errors="surrogateescape")

    def steps() -> bool:
        source = [
            *toolchain.flags,
            *toolchain.checking,
            *(prepared.watching if instrumented else prepared.include),
            *(("-w",) if instrumented else toolchain.hints),
            *("-ferror-limit=20" if clang else "-fmax-errors=20", "-fdiagnostics-color=never"),
            "-fno-caret-diagnostics" if clang else "-fno-diagnostics-show-caret",
            "candidate.cpp",
        ]
        if clang:
            if not run(*source, "-S", "-emit-llvm", "-Xclang", "-disable-llvm-passes", "-o", "candidate.ll"):
                return False
            change("candidate.ll", lambda text: refilled(text, instrumented=instrumented))
            source = [*toolchain.flags, *(toolchain.watching if instrumented else ()), "-w", "candidate.ll"]
        link = ("-shared", "-Wl,-Bsymbolic,-z,now,-z,noexecstack,--no-undefined", "-o", "candidate.so")
        if not instrumented:
            return run(*source, *link, str(prepared.runtime), *toolchain.libraries)
        if not run(*source, "-S", "-o", "candidate.s"):
            return False
        pattern = None if clang else Pattern(written)
        change("candidate.s", lambda text: annotate(watched(text, pattern)))
        # Without -fsanitize=thread, which would bring libtsan.
        return run(*link, "candidate.s", str(prepared.watching_runtime), *toolchain.libraries)

    ok = steps()
    return ok, b"".join(said)[: 1 << 20].decode(errors="replace")


def _assemble(
    changed: Rewritten, file_name: str, options: CompileOptions, kernels: Sequence[str], cuda_arch: int
) -> str:
    quoted = file_name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    lines = [f"#define {kernel} wb_kernel_{kernel}" for kernel in kernels if kernel in LIBRARY_NAMES]
    if cuda_arch != CUDA_ARCH:
        lines += ["#undef __CUDA_ARCH__", f"#define __CUDA_ARCH__ {cuda_arch}"]
    lines += ["#undef __SANITIZE_THREAD__"]  # the instrumented build looks like the plain one
    lines += [f"#define {name} {value}" for name, value in options.defines]
    lines += [f'#line 1 "{quoted}"', changed.text]
    # A file that ends inside a comment or a conditional must not swallow the entries in silence: it fails to link.
    lines += [f'#line 1 "{_ENTRIES}"']
    for i, kernel in enumerate(kernels):
        lines.append(
            f'extern "C" __attribute__((visibility("default"))) void wb_entry_{i}(void **wb_args) {{ wb::call(&{kernel}, wb_args); }} '
            f'extern "C" __attribute__((visibility("default"))) const uint32_t *wb_sizes_{i}() '
            f"{{ return wb::Sizes<decltype(&{kernel})>::bytes; }}"
        )
    size = 232448 + 8192 if changed.dynamic_image else 0
    if size:
        lines.append(
            f'extern "C" {{ __thread __attribute__((aligned(64))) char wb_dynamic_image[{size}] = {{}}; }}'
        )
    lines.append(f'extern "C" {{ uint32_t wb_dynamic_image_size = {size}; }}')
    return "\n".join(lines) + "\n"


def _diagnostics(said: str, file_name: str, changed: Rewritten, kernels: Sequence[str]) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    for row in said.splitlines():
        match = _DIAGNOSTIC.match(row)
        if not match:
            undefined = re.search(r"undefined reference to [`'‘]([^'’]+)", row)
            if undefined:
                found.append(Diagnostic(f"{undefined[1]} is declared and never defined"))
            continue
        severity: Literal["error", "warning", "note"] = "error"
        if match["kind"] == "warning":
            severity = "warning"
        elif match["kind"] == "note":
            severity = "note"
        line, column = int(match["line"]), int(match["column"] or 0)
        text = match["text"]
        if match["file"] == _ENTRIES:
            name = kernels[min(line, len(kernels)) - 1] if kernels else ""
            found.append(
                Diagnostic(
                    f"the plan launches {name!r}, which does not name one kernel: {text}", severity=severity
                )
            )
        elif match["file"] == file_name:
            found.append(Diagnostic(text, line, changed.column(line, column) if column else 0, severity))
        elif severity == "error":
            found.append(Diagnostic(f"{text} (in {Path(match['file']).name}, line {line})"))
    errors = [d for d in found if d.severity == "error"]
    return found if errors else []


def _uninitialised(said: str, file_name: str, changed: Rewritten) -> list[Diagnostic]:
    """Variables of the candidate that the compiler thinks are used before they are set, each once, where declared."""
    found: dict[tuple[str, int], Diagnostic] = {}
    used: tuple[str, int] | None = None
    for row in said.splitlines():
        match = _DIAGNOSTIC.match(row)
        if not match:
            continue
        line = int(match["line"]) if match["file"] == file_name else 0
        if match["kind"] == "warning":
            named = re.search(r"[‘'`]([^’']{1,80})[’'].*uninitialized", match["text"])
            used = (named[1], line) if named else None
            if used is not None and line:
                text = f"{used[0]} may be used before it is set"
                found.setdefault(used, Diagnostic(text, line, 0, "warning"))
        elif (
            used is not None
            and line
            and re.search("was declared here|initialize the variable", match["text"])
        ):
            text = f"{used[0]}, declared in line {line}, may be used before it is set"
            found[used] = Diagnostic(text, used[1] or line, 0, "warning")
            used = None
    return list(found.values())


def _is_cuda_only(diagnostic: Diagnostic) -> bool:
    """An unknown name that looks like CUDA's own: the header is not complete, the candidate may well be right."""
    match = re.search(
        r"[‘'`]((?:__|cuda|nvcuda|cub|cg::|cooperative_groups)[\w:]*)[^’']*[’'].*(declared|not a member|does not name|undeclared)",
        diagnostic.message,
    )
    return bool(match)
