"""nvdisasm reads what hostile sources shaped, so it runs confined."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from reachable import open_to_others

from tests.profile.conftest import Build
from workbench.core.errors import JudgeError
from workbench.profile import disassembler as module
from workbench.profile import sass
from workbench.profile.disassembler import Disassembler, policy
from workbench.sandbox import landlock, libc, popen

pytestmark = pytest.mark.skipif(not libc.machine(), reason="the sandbox needs Linux on x86-64 or aarch64")
TEXT = 'extern "C" __global__ void k(const float* x, float* y) { y[0] = x[0] * 2; }'


def test_nvdisasm_is_confined_and_reads_a_cubin(build: Build) -> None:
    tool = sass.find_nvdisasm()
    assert tool is not None
    disassembler = Disassembler(tool)
    try:
        text = disassembler.run(build(TEXT).cubin)
        assert "FADD" in text or "FMUL" in text
        assert "seccomp allowlist" in disassembler.evidence.means
        with pytest.raises(JudgeError, match="nvdisasm cannot read"):
            disassembler.run(b"garbage")
        assert disassembler.run(build(TEXT).cubin) == text
    finally:
        disassembler.close()


def test_a_disassembler_that_was_killed_is_started_again(build: Build) -> None:
    tool = sass.find_nvdisasm()
    assert tool is not None
    disassembler = Disassembler(tool)
    try:
        first = disassembler.run(build(TEXT).cubin)
        disassembler._kill()
        assert disassembler._process is not None
        disassembler._process.wait()
        assert disassembler.run(build(TEXT).cubin) == first
    finally:
        disassembler.close()


def test_a_disassembler_that_cannot_be_started_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full or gone"))
    with pytest.raises(JudgeError, match=r"could not be started.*No such file"):
        Disassembler(sys.executable).run(b"")


def test_a_disassembler_that_hangs_at_its_start_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = sass.find_nvdisasm()
    assert tool is not None
    monkeypatch.setattr(module, "START_TIMEOUT_S", 0.2)

    def hanging(arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return popen([sys.executable, "-c", "import time; time.sleep(600)"], **options)

    monkeypatch.setattr(module, "popen", hanging)
    disassembler = Disassembler(tool)
    try:
        with pytest.raises(JudgeError, match=r"did not start.*workbench doctor"):
            disassembler.run(b"")
    finally:
        disassembler.close()


ATTEMPTS = """
import errno, json, os, socket, subprocess, sys
from pathlib import Path
from workbench.profile.disassembler import policy
from workbench.sandbox import confine
tool, folder, outside, secret = sys.argv[1:]
confine(policy(tool, folder))
results = {}
def attempt(name, f):
    try:
        f()
        results[name] = "done"
    except OSError as error:
        results[name] = errno.errorcode.get(error.errno, str(error.errno))
attempt("reads a file", lambda: open(secret).read())
attempt("writes outside", lambda: open(outside + "/x", "w").close())
attempt("writes inside", lambda: open(folder + "/x", "w").close())
attempt("network", lambda: socket.socket())
attempt("another program", lambda: subprocess.run([secret + ".sh"]))
attempt("nvdisasm", lambda: subprocess.run([tool, "--version"], stdout=subprocess.DEVNULL))
print(json.dumps(results))
"""


@pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")
def test_what_takes_nvdisasm_over_gets_nothing(tmp_path: Path) -> None:
    tool = sass.find_nvdisasm()
    assert tool is not None
    folder, outside, secret = tmp_path / "own", tmp_path / "outside", tmp_path / "secret"
    folder.mkdir()
    outside.mkdir()
    secret.write_text("key")
    script = tmp_path / "secret.sh"
    script.write_text("#!/bin/sh\n")
    open_to_others(tmp_path)
    for path in (tmp_path, folder, outside, secret, script):
        path.chmod(0o777)  # so that only the sandbox stands between
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, tool, str(folder), str(outside), str(secret)],
        capture_output=True,
        text=True,
        check=True,
    )
    results = json.loads(done.stdout)
    assert results.pop("writes inside") == results.pop("nvdisasm") == "done"
    assert set(results.values()) <= {"EACCES", "EPERM"}, results


def test_the_policy_names_no_folder_of_the_user() -> None:
    tool = sass.find_nvdisasm()
    assert tool is not None
    held = policy(tool, "/nowhere")
    assert held.write == ("/nowhere", "/dev/null")
    assert not any(path in ("/", str(Path.home()), "/tmp") for path in (*held.read, *held.execute))
