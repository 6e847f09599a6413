"""What GPUs this machine has and who uses them, as the driver's management library (NVML) reports it.

Asked in a child process, as the driver is in `device`: a library that waits for a broken GPU must not take the engine
with it. nvidia-ml-py need not be there.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from workbench.profile.devices import Device, DeviceProcess

LIMIT_S = 15.0
"""A machine with many GPUs and no persistence mode takes seconds to answer."""
MISSING = "Which GPU is idle cannot be seen without nvidia-ml-py: pip install nvidia-ml-py, or set CUDA_VISIBLE_DEVICES."
_MODES = {0: "default", 1: "exclusive", 2: "prohibited", 3: "exclusive"}
_NAMES = 200


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What NVML answered."""

    devices: tuple[Device, ...] = ()
    driver: str = ""
    unread: str = ""
    """Why the devices could not be read although there may be some, a sentence; "" where they were or there is no driver."""


def read_devices(*, limit_s: float = LIMIT_S) -> Reading:
    """All devices of this machine, in at most `limit_s` seconds; never raises. Without a driver there are none."""
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", "workbench.profile.nvml"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
        )
        return msgspec.json.decode(child.stdout, type=Reading)
    except subprocess.TimeoutExpired:
        return Reading(unread=f"The NVIDIA driver did not answer within {limit_s:.0f} s.")
    except (OSError, msgspec.MsgspecError):
        return Reading(unread="The NVIDIA driver's management library failed.")


def read_here() -> Reading:
    """As `read_devices`, in this process."""
    try:
        import pynvml
    except ImportError:
        return Reading(unread=MISSING)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return Reading()
    except pynvml.NVMLError as error:
        if type(error) is pynvml.NVMLError_DriverNotLoaded:
            return Reading()
        return Reading(unread=f"The NVIDIA driver's management library does not start: {error}.")
    try:
        count = pynvml.nvmlDeviceGetCount()
        devices = [device for index in range(count) for device in _of_index(pynvml, index)]
        return Reading(devices=tuple(devices), driver=_text(pynvml.nvmlSystemGetDriverVersion()))
    except pynvml.NVMLError as error:
        return Reading(unread=f"The NVIDIA driver's management library does not answer: {error}.")
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _of_index(nvml: Any, index: int) -> Iterator[Device]:
    """The GPU `index`, or its slices where it is cut into some."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        device = _device(nvml, handle, index)
    except nvml.NVMLError as error:  # it fell off the bus; the others work
        yield Device(uuid="", name="?", index=index, fault=str(error))
        return
    cut = _asked(nvml, lambda: nvml.nvmlDeviceGetMigMode(handle)[0], 0)
    if not cut:
        yield device
        return
    for number in range(_asked(nvml, lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle), 0)):
        with contextlib.suppress(nvml.NVMLError):  # not every number is taken
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            yield msgspec.structs.replace(
                _device(nvml, part, index), arch=device.arch, compute_mode=device.compute_mode
            )


def _device(nvml: Any, handle: Any, index: int) -> Device:
    uuid, name = _text(nvml.nvmlDeviceGetUUID(handle)), _text(nvml.nvmlDeviceGetName(handle))
    memory = _asked(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle), None)
    capability = _asked(nvml, lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle), None)
    return Device(
        uuid=uuid,
        name=name,
        index=index,
        arch=f"sm_{capability[0]}{capability[1]}" if capability else "",
        total_bytes=int(memory.total) if memory is not None else 0,
        used_bytes=int(memory.used) if memory is not None else 0,
        utilisation_percent=_asked(nvml, lambda: int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu), None),
        processes=_processes(nvml, handle),
        compute_mode=_MODES.get(_asked(nvml, lambda: nvml.nvmlDeviceGetComputeMode(handle), 0), "default"),
    )


def _name_of(nvml: Any, pid: int) -> str:
    return _text(nvml.nvmlSystemGetProcessName(pid))


def _processes(nvml: Any, handle: Any) -> tuple[DeviceProcess, ...]:
    running = _asked(nvml, lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle), [])
    return tuple(
        DeviceProcess(
            pid=process.pid,
            name=_asked(nvml, partial(_name_of, nvml, process.pid), "")[:_NAMES],
            used_bytes=process.usedGpuMemory or 0,  # None: the driver does not say
        )
        for process in running
    )


def _asked(nvml: Any, ask: Callable[[], Any], otherwise: Any) -> Any:
    """The answer; `otherwise` where the driver, the device or a permission has none."""
    try:
        return ask()
    except nvml.NVMLError:
        return otherwise


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(read_here()))
