"""Which GPUs judges take: those that CUDA_VISIBLE_DEVICES names, else one that is idle, and never all unasked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.profile.devices import Choice, Device, DeviceProcess, choose
from workbench.profile.nvml import MISSING, Reading, read_devices

GIB = 1 << 30
TRAINING = DeviceProcess(pid=4711, name="/usr/bin/python3", used_bytes=30 * GIB)


def gpu(index: int, **fields: object) -> Device:
    return Device(**({"uuid": f"GPU-{index}{index}aa-bb", "name": "H200", "index": index} | fields))  # type: ignore[arg-type]  # each test names fields of their own types


def visible(choice: Choice) -> list[str]:
    return [one.visible for one in choice.devices]


def test_without_a_word_one_gpu_is_taken_and_it_is_the_most_idle_one() -> None:
    devices = [
        gpu(0, processes=(TRAINING,)),
        gpu(1, utilisation_percent=80),
        gpu(2, used_bytes=3 * GIB),
        gpu(3, used_bytes=GIB, utilisation_percent=2),
        gpu(4, used_bytes=2 * GIB),
    ]
    assert visible(choose(devices, visible=None)) == ["GPU-33aa-bb"]
    assert choose(devices, visible=None).warnings == ()


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 9), st.booleans()), min_size=1, max_size=8))
def test_unasked_it_is_exactly_one_and_no_other_is_more_idle(found: list[tuple[int, int, bool]]) -> None:
    devices = [
        gpu(n, utilisation_percent=percent, used_bytes=used * GIB, processes=(TRAINING,) if busy else ())
        for n, (percent, used, busy) in enumerate(found)
    ]
    (chosen,) = choose(devices, visible=None).devices
    assert chosen.device is not None
    assert bool(chosen.device.processes) == all(d.processes for d in devices)
    assert all(chosen.device.load <= device.load for device in devices)


def test_each_entry_of_the_variable_gets_a_judge_and_is_handed_on_as_it_stands() -> None:
    devices = [gpu(0), gpu(1), gpu(2), Device(uuid="MIG-cc", name="H200 MIG 1g.18gb", index=3)]
    choice = choose(devices, visible="2, GPU-00aa,MIG-cc", pci_order=True)
    assert visible(choice) == ["2", "GPU-00aa", "MIG-cc"]
    assert [str(one) for one in choice.devices] == [
        "GPU 2 (H200)",
        "GPU 0 (H200)",
        "MIG slice of GPU 3 (H200 MIG 1g.18gb)",
    ]
    assert visible(choose([], visible="0,1", unread=MISSING)) == ["0", "1"]  # NVML is not needed for it


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
        ("1,1", ["1"]),
        ("0,,1", ["0"]),
        ("NoDevFiles", ["NoDevFiles"]),
    ],
)
def test_what_cuda_would_not_see_gets_no_judge(words: str, seen: list[str]) -> None:
    choice = choose([gpu(0), gpu(1)], visible=words)
    assert visible(choice) == seen
    assert bool(choice.warnings) == (not seen)


def test_a_number_names_a_device_only_where_cuda_and_nvml_count_alike() -> None:
    unlike = [gpu(0), gpu(1, name="T1000")]
    assert choose(unlike, visible="1").devices[0].device is None
    assert str(choose(unlike, visible="1").devices[0]) == "GPU 1"
    assert choose(unlike, visible="1", pci_order=True).devices[0].device == unlike[1]
    assert choose([gpu(0), gpu(1)], visible="1").devices[0].device == gpu(1)
    assert (
        choose([gpu(0), gpu(1, uuid="GPU-00ab")], visible="GPU-00").devices[0].device is None
    )  # two begin so


def test_as_many_as_are_asked_for_are_taken_and_fewer_are_said() -> None:
    devices = [gpu(0, used_bytes=GIB), gpu(1), gpu(2, used_bytes=2 * GIB)]
    assert visible(choose(devices, visible=None, count=2)) == ["GPU-11aa-bb", "GPU-00aa-bb"]
    assert visible(choose(devices, visible="0,1,2", count=2)) == ["0", "1"]
    choice = choose(devices, visible="2", count=4)
    assert visible(choice) == ["2"]
    assert choice.warnings == ("4 judges were asked for, and there is 1, on the only GPU that can be used.",)


def test_others_on_the_device_are_named_and_our_own_are_not() -> None:
    mine = DeviceProcess(pid=7)
    device = gpu(0, processes=(mine, TRAINING))
    (warning,) = choose([device], visible=None, ours=frozenset({7})).warnings
    assert warning.startswith("GPU 0 (H200) is also used by /usr/bin/python3 (4711, 30.0 GiB)")
    assert choose([gpu(0, processes=(mine,))], visible="0", ours=frozenset({7})).warnings == ()


def test_a_device_that_cannot_be_used_is_not_taken_and_where_all_are_so_it_says_why() -> None:
    lost = gpu(0, fault="GPU is lost")
    closed = gpu(1, compute_mode="prohibited")
    taken = gpu(2, compute_mode="exclusive", processes=(TRAINING,))
    free = gpu(3, compute_mode="exclusive", used_bytes=70 * GIB)
    assert visible(choose([lost, closed, taken, free], visible=None, count=4)) == ["GPU-33aa-bb"]
    (warning,) = choose([lost, closed, taken], visible=None).warnings
    assert "GPU is lost" in warning and "compute mode forbids" in warning and "4711" in warning
    assert choose([], visible=None) == Choice(warnings=("There is no GPU here.",))


def test_where_the_driver_cannot_be_asked_the_first_gpu_alone_is_taken_and_it_says_so() -> None:
    choice = choose([], visible=None, count=8, unread=MISSING)
    assert visible(choice) == ["0"]
    assert "nvidia-ml-py" in choice.warnings[0]


def test_reading_this_machine_gives_an_answer_or_one_sentence() -> None:
    reading = read_devices()
    assert not (reading.unread and reading.devices)
    assert all(device.uuid or device.fault for device in reading.devices)


def test_without_nvidia_ml_py_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text("raise ImportError('no')\n")
    done = subprocess.run(
        [sys.executable, "-m", "workbench.profile.nvml"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
    )
    assert msgspec.json.decode(done.stdout, type=Reading) == Reading(unread=MISSING)


FAKE = """
from types import SimpleNamespace as Namespace
class NVMLError(Exception): pass
class NVMLError_LibraryNotFound(NVMLError): pass
class NVMLError_DriverNotLoaded(NVMLError): pass
def nvmlInit(): pass
def nvmlShutdown(): pass
def nvmlSystemGetDriverVersion(): return "580.1"
def nvmlSystemGetProcessName(pid): raise NVMLError("no permission")
def nvmlDeviceGetCount(): return 3
def nvmlDeviceGetHandleByIndex(index):
    if index == 1:
        raise NVMLError("GPU is lost")
    return index
def nvmlDeviceGetUUID(handle): return f"GPU-{handle}" if isinstance(handle, int) else handle
def nvmlDeviceGetName(handle): return b"H200"
def nvmlDeviceGetMemoryInfo(handle): return Namespace(total=100, used=7)
def nvmlDeviceGetCudaComputeCapability(handle):
    if not isinstance(handle, int):
        raise NVMLError("not supported")
    return 9, 0
def nvmlDeviceGetUtilizationRates(handle):
    if not isinstance(handle, int):
        raise NVMLError("not supported")
    return Namespace(gpu=3)
def nvmlDeviceGetComputeMode(handle): return 3
def nvmlDeviceGetComputeRunningProcesses(handle): return [Namespace(pid=9, usedGpuMemory=None)]
def nvmlDeviceGetMigMode(handle):
    if handle == 0:
        raise NVMLError("not supported")
    return 1, 1
def nvmlDeviceGetMaxMigDeviceCount(handle): return 2
def nvmlDeviceGetMigDeviceHandleByIndex(handle, number):
    if number == 0:
        raise NVMLError("not found")
    return "MIG-x"
"""


def test_a_lost_gpu_a_cut_one_and_questions_without_an_answer_hide_no_other_device(tmp_path: Path) -> None:
    # A machine with such GPUs is not to be had in a test: the library's answers are written down here.
    (tmp_path / "pynvml.py").write_text(FAKE)
    done = subprocess.run(
        [sys.executable, "-m", "workbench.profile.nvml"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        check=True,
    )
    reading = msgspec.json.decode(done.stdout, type=Reading)
    process = (DeviceProcess(pid=9),)
    whole = Device(
        uuid="GPU-0",
        name="H200",
        index=0,
        arch="sm_90",
        total_bytes=100,
        used_bytes=7,
        utilisation_percent=3,
        processes=process,
        compute_mode="exclusive",
    )
    assert reading.driver == "580.1"
    assert reading.devices == (
        whole,
        Device(uuid="", name="?", index=1, fault="GPU is lost"),
        msgspec.structs.replace(whole, uuid="MIG-x", index=2, utilisation_percent=None),
    )
