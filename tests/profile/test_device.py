"""Which architecture is compiled for where nobody names one, with drivers built for the purpose."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from workbench.core.plan import LIMITS
from workbench.profile import device
from workbench.profile.device import FALLBACK, arch_of, default_arch, device_arch

DRIVER = """
#include <stdlib.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) { %s; }
int cuInit(unsigned flags) { %s; return 0; }
int cuDeviceGet(int* device, int ordinal) { *device = 7; return 0; }
int cuDeviceGetAttribute(int* value, int attribute, int device)
{
    if (device != 7) return 101;
    *value = attribute == 75 ? %d : attribute == 76 ? %d : -1;
    return 0;
}
"""


def driver(folder: Path, major: int, minor: int, start: str = "", loaded: str = "") -> str:
    """A library that answers as the driver of such a device would."""
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("the fake driver needs a C compiler")
    source, library = folder / "driver.c", folder / f"libdriver{major}{minor}.so"
    source.write_text(DRIVER % (loaded, start, major, minor))
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return str(library)


@pytest.mark.parametrize(
    ("capability", "arch"),
    [((7, 5), "sm_75"), ((8, 9), "sm_89"), ((9, 0), "sm_90a"), ((10, 0), "sm_100a"), ((12, 1), "sm_121a")],
)
def test_the_devices_architecture_is_compiled_for_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], arch: str
) -> None:
    library = driver(tmp_path, *capability)
    assert device_arch(library) == arch
    assert arch.rstrip("a") in LIMITS
    monkeypatch.setattr(device, "device_arch", lambda: device_arch(library))
    device._answer.cache_clear()
    try:
        assert default_arch() == arch
    finally:
        device._answer.cache_clear()


def test_a_device_whose_limits_are_not_known_is_not_compiled_for(tmp_path: Path) -> None:
    assert device_arch(driver(tmp_path, 6, 1)) is None
    assert arch_of(99, 0) is None
    assert {arch_of(int(a[3:-1]), int(a[-1])) for a in LIMITS} == {
        f"{a}a" if int(a[3:]) >= 90 else a for a in LIMITS
    }


@pytest.mark.parametrize("start", ["return 999", "abort()", "exit(0)", 'write(1, "x y", 3); _exit(0)'])
def test_a_driver_that_fails_or_takes_its_process_with_it_leaves_the_default(
    tmp_path: Path, start: str
) -> None:
    assert device_arch(driver(tmp_path, 9, 0, start)) is None
    assert device_arch(str(tmp_path / "nowhere.so")) is None


@pytest.mark.parametrize("where", ["start", "loaded"])
def test_a_driver_that_hangs_is_given_up(tmp_path: Path, where: str) -> None:
    library = driver(tmp_path, 9, 0, **{where: "for (;;) sleep(600)"})
    began = time.monotonic()
    assert device_arch(library, limit_s=0.5) is None
    assert time.monotonic() - began < device.LIMIT_S, "the limit that was given is not the one that held"


def test_a_driver_that_crashes_while_it_is_loaded_takes_no_process_of_ours_with_it(tmp_path: Path) -> None:
    assert device_arch(driver(tmp_path, 9, 0, loaded="abort()")) is None


def test_without_a_driver_it_is_hoppers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "DRIVER", "libno-such-driver.so.1")
    monkeypatch.setattr(device, "device_arch", lambda: device_arch(device.DRIVER))
    device._answer.cache_clear()
    try:
        assert default_arch() == FALLBACK == "sm_90a"
    finally:
        device._answer.cache_clear()


@pytest.mark.gpu
def test_a_real_devices_architecture_is_found() -> None:
    assert device_arch() is not None
