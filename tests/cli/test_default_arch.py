"""Without --arch the command line takes the device's architecture, here that of a driver made for the purpose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.judge.client import JudgeClient

DRIVER = """
int cuInit(unsigned flags) { return 0; }
int cuDeviceGet(int* device, int ordinal) { *device = 0; return 0; }
int cuDeviceGetAttribute(int* value, int attribute, int device) { *value = attribute == 75 ? 8 : 6; return 0; }
"""
NORM = Path(__file__).parent.parent / "judge" / "candidates" / "norm"


@pytest.fixture
def workbench(tmp_path: Path) -> Callable[..., str]:
    """Run a command on a machine whose GPU is an sm_86."""
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("the fake driver needs a C compiler")
    (tmp_path / "driver.c").write_text(DRIVER)
    library = tmp_path / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "driver.c"], check=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}

    def run(*arguments: str | Path) -> str:
        command = [sys.executable, "-m", "workbench", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_dialects_limits_are_the_devices(workbench: Callable[..., str]) -> None:
    assert "101,376 bytes of shared memory" in workbench("dialect")
    assert "232,448 bytes of shared memory" in workbench("dialect", "--arch", "sm_90a")


async def test_a_verdict_is_for_the_device_unless_another_architecture_is_named() -> None:
    # The made driver has too little in it for the compiler's CUDA bindings, so here only its answer is put in.
    code = (
        "import runpy; from workbench.profile import device; device.device_arch = lambda: 'sm_86'; "
        "runpy.run_module('workbench.judge.worker', run_name='__main__')"
    )
    async with JudgeClient(command=[sys.executable, "-P", "-c", code]) as judge:
        found = []
        for arch in (None, "sm_80"):
            await judge.load_task(str(NORM / "task.py"), target="host", arch=arch)
            judged = await judge.judge("c1", (NORM / "two_pass.cu").read_bytes(), path="two_pass.cu")
            assert judged.verdict is not None and judged.verdict.outcome == "pass"
            found.append((judged.verdict.device["arch"], judged.verdict.resources.arch))
    assert found == [("sm_86", "sm_86"), ("sm_80", "sm_80")]
