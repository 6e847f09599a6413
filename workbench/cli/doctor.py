"""`workbench doctor`: what this machine can do, what each absence costs, and what to install.

Every line is tried, not looked up: a line is compiled, a process is confined. torch is never imported.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from workbench import __version__

if TYPE_CHECKING:
    from workbench.profile.devices import Device

Status = Literal["ok", "limited", "missing"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    name: str
    status: Status
    found: str
    """What is there, or why it is not."""
    cost: str = ""
    """What does not work without it; "" where nothing is lost."""
    do: str = ""
    """What to install or change."""


_MARKS: dict[Status, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "limited": ("limited", "yellow"),
    "missing": ("missing", "red"),
}


@click.command("doctor", epilog="Example: workbench doctor")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with every check.")
def command(as_json: bool) -> None:
    """What this machine can do, what each absence costs, and what to install."""
    checks = examine()
    if as_json:
        document = {"workbench": __version__, "checks": checks}
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
        return
    width = max(len(check.name) for check in checks)
    for check in checks:
        word, colour = _MARKS[check.status]
        click.echo(f"{check.name:<{width}}  {click.style(f'{word:<7}', fg=colour)}  {check.found}")
        if check.cost or check.do:
            click.echo(f"{'':<{width}}           {check.cost} {check.do}".rstrip())
    click.echo(f"\n{_summary(checks)}")


def examine() -> tuple[Check, ...]:
    """Every check, in the order in which a person reads them; none raises."""
    parts: tuple[Callable[[], Iterator[Check]], ...] = (
        _python,
        _torch,
        _nvrtc,
        _headers,
        _nvdisasm,
        _host_compiler,
        _fibers,
        _sandbox,
        _gpu,
        _terminal,
        _sessions,
    )
    found: list[Check] = []
    for part in parts:
        name = part.__name__.strip("_").replace("_", " ")
        try:
            found.extend(part())
        except Exception as error:
            found.append(
                Check(
                    name=name,
                    status="missing",
                    found=f"could not be looked at: {type(error).__name__}: {error}",
                )
            )
    return tuple(found)


def _summary(checks: tuple[Check, ...]) -> str:
    status = {check.name: check.status for check in checks}
    host = all(status.get(name) == "ok" for name in ("host compiler", "CUDA headers", "torch"))
    device = status.get("GPU") == "ok"
    if device and host:
        return "The host target works here; this version does not use the GPU yet."
    if host:
        return "The host target works here: correctness, resources and the audit; a speed needs a GPU."
    return "Candidates cannot be judged here until what is missing above is installed."


def _python() -> Iterator[Check]:
    version = platform.python_version()
    system = f"{platform.system()} {platform.machine()}"
    # An older Python than 3.11 does not get this far: the package does not install there.
    yield Check(name="Python", status="ok", found=f"{version}, {system}")


def _torch() -> Iterator[Check]:
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        yield Check(
            name="torch",
            status="missing",
            found="not installed for this Python",
            cost="No task can be loaded.",
            do="pip install torch, or set judge.python in workbench.toml to a Python that has it.",
        )
    else:
        yield Check(name="torch", status="ok", found=version)


def _nvrtc() -> Iterator[Check]:
    cost = "No CUDA build: no registers, no occupancy, no machine code, no audit, so no verdict."
    try:
        from workbench.runner.compiler.chosen import VARIABLE, chosen
        from workbench.runner.compiler.nvrtc import NvrtcError, warm_up
    except ImportError as error:
        yield Check(
            name="NVRTC",
            status="missing",
            found=str(error),
            cost=cost,
            do="pip install cuda-bindings (Linux).",
        )
        return
    named = os.environ.get(VARIABLE, "")
    try:
        version = warm_up()
        choice = chosen()
        origin = f", {VARIABLE} names {choice.library}" if choice is not None else ""
        yield Check(name="NVRTC", status="ok", found=f"{version}, compiles{origin}")
    except NvrtcError as error:
        do = f"Correct or unset {VARIABLE}." if named else "pip install nvidia-cuda-nvrtc."
        yield Check(name="NVRTC", status="missing", found=str(error), cost=cost, do=do)


def _headers() -> Iterator[Check]:
    from workbench.runner.compiler.chosen import nvrtc_headers

    headers = nvrtc_headers()
    if not headers.origin:
        yield Check(
            name="CUDA headers",
            status="missing",
            found="none",
            cost="Neither target can use half types or cooperative groups; the host target does not build at all.",
            do="pip install nvidia-cuda-runtime nvidia-cuda-crt nvidia-cuda-cccl.",
        )
        return
    packages = {"crt": "nvidia-cuda-crt", "cub": "nvidia-cuda-cccl"}
    absent = {name: packages[name.split("/")[0]] for name in headers.absent()}
    place = next((f for f in headers.folders if Path(f, "cuda_fp16.h").is_file()), "")
    if absent:
        yield Check(
            name="CUDA headers",
            status="limited",
            found=f"from {headers.origin}, {place}",
            cost="The host target does not build at all."
            if "crt/host_defines.h" in absent
            else "Candidates that include CUB, libcu++ or cooperative groups' algorithms do not compile.",
            do=f"pip install {' '.join(sorted(set(absent.values())))}.",
        )
    else:
        yield Check(name="CUDA headers", status="ok", found=f"from {headers.origin}, {place}")


def _nvdisasm() -> Iterator[Check]:
    from workbench.profile.sass import find_nvdisasm

    tool = find_nvdisasm()
    if tool is None:
        yield Check(
            name="nvdisasm",
            status="missing",
            found="not found",
            cost="The audit gate cannot read machine code, so every verdict is an error.",
            do="pip install nvidia-cuda-nvdisasm.",
        )
    else:
        yield Check(name="nvdisasm", status="ok", found=tool)


def _host_compiler() -> Iterator[Check]:
    from workbench.runner.host.toolchain import find_toolchain

    toolchain = find_toolchain()
    if toolchain is None:
        yield Check(
            name="host compiler",
            status="missing",
            found="neither g++ nor clang++"
            + (f" (CXX={os.environ['CXX']})" if os.environ.get("CXX") else ""),
            cost="The host target is out; parse, compile for CUDA, resources and audit still work.",
            do="apt install g++, dnf install gcc-c++, or set CXX.",
        )
    else:
        yield Check(name="host compiler", status="ok", found=f"{toolchain.version}, {toolchain.compiler}")


def _fibers() -> Iterator[Check]:
    machine = platform.machine()
    if platform.system() == "Linux" and machine in ("x86_64", "aarch64"):
        yield Check(name="fibers", status="ok", found=f"{machine}: threads of a block run as fibers")
    else:
        yield Check(
            name="fibers",
            status="missing",
            found=f"{platform.system()} {machine}",
            cost="The host target runs on Linux only, on x86-64 and aarch64.",
            do="Run it on Linux, x86-64 or aarch64.",
        )


def _sandbox() -> Iterator[Check]:
    held = _confine_a_child()
    if held.why:
        yield Check(
            name="sandbox",
            status="missing",
            found=held.why,
            cost="Hostile code cannot be held, so nothing is judged.",
            do="Use Linux 5.13 or later; in a container allow seccomp filters and Landlock.",
        )
        return
    weak = [m for m in held.missing if not m.startswith("a user of its own")]
    yield Check(
        name="sandbox",
        status="limited" if weak else "ok",
        found=", ".join(held.means),
        cost=f"Missing: {'; '.join(held.missing)}." if held.missing else "",
        do="Landlock needs Linux 5.13, and `lsm=landlock` where it is off." if weak else "",
    )


class _Held(msgspec.Struct):
    """What the confined child answers."""

    means: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    why: str = ""
    """Why it could not be confined."""


def _confine_a_child() -> _Held:
    """Confine a forked child for real and return its evidence, or why it could not be."""
    from workbench.sandbox import Policy, confine

    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        answer = _Held(why="it died")
        try:
            evidence = confine(Policy(memory_bytes=4 << 30))
            answer = _Held(means=evidence.means, missing=evidence.missing)
        except BaseException as error:
            answer = _Held(why=str(error))
        finally:
            with contextlib.suppress(BaseException):
                os.write(writer, msgspec.json.encode(answer))
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read(1 << 16)
    os.waitpid(child, 0)
    return msgspec.json.decode(data, type=_Held) if data else _Held(why="the confined process died")


def _gpu() -> Iterator[Check]:
    from workbench.profile.devices import choose
    from workbench.profile.nvml import read_devices

    cost = "No speed is measured; the host target judges everything else."
    reading = read_devices()
    if not reading.devices:
        why = reading.unread or (
            f"driver {reading.driver}, no device" if reading.driver else "no NVIDIA driver"
        )
        yield Check(
            name="GPU", status="missing", found=why, cost=cost, do="Use a machine with a GPU for timings."
        )
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    pci_order = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    choice = choose(reading.devices, visible=visible, pci_order=pci_order)
    taken = ", ".join(map(str, choice.devices))
    yield Check(
        name="GPU",
        status="ok" if taken else "limited",
        found="; ".join([*(_device_words(d) for d in reading.devices), f"driver {reading.driver}"]),
        cost=" ".join([f"A session's judges take {taken}." if taken else cost, *choice.warnings]),
    )


def _device_words(device: Device) -> str:
    if device.fault:
        return f"GPU {device.index} cannot be used ({device.fault})"
    words = f"{device}, {device.arch or 'architecture not known'}, {device.used_bytes / (1 << 30):.1f} of "
    words += f"{device.total_bytes / (1 << 30):.0f} GiB in use"
    if device.utilisation_percent is not None:
        words += f", {device.utilisation_percent} % busy"
    return words if device.compute_mode == "default" else f"{words}, compute mode {device.compute_mode}"


def _terminal() -> Iterator[Check]:
    size = shutil.get_terminal_size((80, 24))
    term, colour = os.environ.get("TERM", ""), os.environ.get("COLORTERM", "")
    if colour in ("truecolor", "24bit") or "direct" in term:
        colours = "16 million colours"
    elif "256color" in term:
        colours = "256 colours"
    else:
        colours = f"few colours (TERM={term or 'not set'})"
    found = f"{size.columns}x{size.lines}, {colours}"
    if not sys.stdout.isatty():
        found = f"not a terminal now; {colours}"
    if colours.startswith("few") and sys.stdout.isatty():
        yield Check(
            name="terminal",
            status="limited",
            found=found,
            cost="The screen is drawn in 16 colours.",
            do="Set TERM=xterm-256color, or COLORTERM=truecolor.",
        )
    elif sys.stdout.isatty() and (size.columns < 80 or size.lines < 24):
        yield Check(
            name="terminal",
            status="limited",
            found=found,
            cost="The screen folds its panes below 80x24.",
            do="Make the window larger.",
        )
    else:
        yield Check(name="terminal", status="ok", found=found)


def _sessions() -> Iterator[Check]:
    from workbench.core.locate import sessions_folder

    folder = sessions_folder().absolute()
    # The folder is made when it is needed; until then its nearest parent has to be writable.
    at = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    try:
        with tempfile.TemporaryFile(dir=at):
            free = shutil.disk_usage(at).free
    except OSError as error:
        yield Check(
            name="sessions",
            status="missing",
            found=f"{folder} cannot be written ({error.strerror})",
            cost="No session can be kept.",
            do="Set WORKBENCH_SESSIONS to a folder that you may write.",
        )
        return
    if free < 200 << 20:
        yield Check(
            name="sessions",
            status="limited",
            found=f"{folder}, {free >> 20} MiB free",
            cost="A session may run out of room.",
            do="Free some space, or set WORKBENCH_SESSIONS.",
        )
    else:
        yield Check(name="sessions", status="ok", found=f"{folder}, {free / (1 << 30):.0f} GiB free")
