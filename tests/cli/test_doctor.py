"""`workbench doctor` on the real machine, and with parts taken away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import workbench
from workbench.cli import doctor
from workbench.cli.doctor import Check, examine
from workbench.profile import nvml
from workbench.profile.devices import Device

NAMES = [
    *("Python", "torch", "NVRTC", "CUDA headers", "nvdisasm", "host compiler", "fibers", "sandbox"),
    *("GPU", "terminal", "sessions"),
]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workbench", "doctor", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )


def found() -> dict[str, Check]:
    return {check.name: check for check in examine()}


def test_every_part_is_looked_at_and_the_exit_code_is_zero() -> None:
    done = run("--json")
    assert done.returncode == 0, done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert [check["name"] for check in checks] == NAMES
    assert all(check["found"] for check in checks)


def test_what_is_missing_says_what_it_costs_and_what_to_do(tmp_path: Path) -> None:
    done = run("--json", CXX="/nonexistent/c++", PATH=str(tmp_path))
    assert done.returncode == 0
    compiler = next(c for c in json.loads(done.stdout)["checks"] if c["name"] == "host compiler")
    assert compiler["status"] == "missing" and "CXX=" in compiler["found"]
    assert "host target" in compiler["cost"] and "g++" in compiler["do"]


def test_the_table_has_a_line_for_each_part() -> None:
    done = run()
    assert done.returncode == 0
    assert all(name in done.stdout for name in NAMES)
    assert done.stdout.strip().splitlines()[-1].endswith(".")


def test_no_remedy_names_an_option_that_does_not_exist_or_a_target_that_does_not_work() -> None:
    for path in Path(workbench.__file__).parent.rglob("*.py"):
        text = path.read_text()
        assert "--python" not in text and "ssh://" not in text, path
    works = {name: "ok" for name in ("host compiler", "CUDA headers", "torch", "GPU")}
    checks = tuple(doctor.Check(name=name, status="ok", found="") for name in works)
    assert doctor._summary(checks) == "The host target works here; this version does not use the GPU yet."


def test_torch_is_never_imported() -> None:
    code = (
        "import sys; from workbench.cli.doctor import examine; examine(); assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_a_part_that_breaks_is_a_line_and_not_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> object:
        raise OSError("no such disk")

    monkeypatch.setattr(doctor, "_confine_a_child", broken)
    assert "no such disk" in found()["sandbox"].found


def test_a_sessions_folder_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("WORKBENCH_SESSIONS", str(blocker / "sessions"))
    check = found()["sessions"]
    assert check.status == "missing" and "WORKBENCH_SESSIONS" in check.do


def test_each_gpu_says_how_busy_it_is_and_which_one_a_session_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = (
        Device(uuid="GPU-a", name="H200", index=0, arch="sm_90", total_bytes=141 << 30, used_bytes=9 << 30),
        Device(
            uuid="GPU-b", name="H200", index=1, arch="sm_90", total_bytes=141 << 30, utilisation_percent=0
        ),
        Device(uuid="", name="?", index=2, fault="GPU is lost"),
    )
    monkeypatch.setattr(nvml, "read_devices", lambda: nvml.Reading(devices=gpus, driver="580.1"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    check = found()["GPU"]
    assert check.status == "ok"
    assert "GPU 0 (H200), sm_90, 9.0 of 141 GiB in use; GPU 1 (H200)" in check.found
    assert "GPU 2 cannot be used (GPU is lost)" in check.found and "driver 580.1" in check.found
    assert check.cost == "A session's judges take GPU 1 (H200)."
    monkeypatch.setattr(nvml, "read_devices", lambda: nvml.Reading(unread=nvml.MISSING))
    assert "pip install nvidia-ml-py" in found()["GPU"].found
