"""A run that is ended leaves a whole report: what was reached, and an error for each candidate that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from workbench.cli.junit import JUnitFile, Reached
from workbench.core.errors import UsageError

SCRIPTED = Path(__file__).parent.parent / "engine" / "scripted_judge.py"
PROGRAM = """
import sys
from workbench.cli import main
from workbench.judge import client
judge = [sys.executable, sys.argv.pop(1)]
client.local_command = lambda *_: judge
main()
"""
"""`workbench` with the scripted judge, which hangs when it is told to."""


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """An earlier run's report, by all appearances."""
    path = tmp_path / "out.xml"
    path.write_text("<testsuites earlier='yes'/>")
    return path


def _verify(report: Path, *sources: str) -> list[str]:
    """The command line that has `sources` judged, as JSON lines."""
    folder = report.parent
    (folder / "task.py").write_text("# loads\n")
    for number, source in enumerate(sources):
        (folder / f"{number}.cu").write_text(source)
    names = [str(folder / f"{number}.cu") for number in range(len(sources))]
    words = ["verify", str(folder / "task.py"), *names, "--json", "--junit", str(report)]
    return [sys.executable, "-c", PROGRAM, str(SCRIPTED), *words]


def _cases(report: Path) -> list[str]:
    cases = ElementTree.parse(report).findall(".//testcase")
    assert [Path(case.get("name", "")).name for case in cases] == [f"{n}.cu" for n in range(len(cases))]
    return [
        next((kind for kind in ("failure", "error") if case.find(kind) is not None), "pass") for case in cases
    ]


def test_a_reader_of_standard_output_that_goes_away_leaves_a_whole_report(report: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    line = _verify(report, "FAILS", "good", "good")
    done = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
    assert _cases(report) == ["failure", "error", "error"]  # it ended at the first line


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_behind_standard_output_leaves_a_whole_report(report: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            _verify(report, "good", "good"), stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert done.returncode == 2 and b"No space left" in done.stderr
    assert _cases(report) == ["pass", "error"]


@pytest.mark.parametrize(
    ("ended_by", "code", "left"),
    [(signal.SIGINT, 130, ["pass", "failure", "error"]), (signal.SIGKILL, -9, ["error", "error", "error"])],
)
def test_a_run_that_is_interrupted_or_killed_leaves_a_whole_report(
    report: Path, ended_by: signal.Signals, code: int, left: list[str]
) -> None:
    line = _verify(report, "good", "FAILS", "HANGS")
    running = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    try:
        for outcome in (b'"pass"', b'"fail"'):
            assert outcome in running.stdout.readline()  # the third never ends
        running.send_signal(ended_by)
        _, said = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == code and b"Traceback" not in said, said
    assert _cases(report) == left
    assert sorted(path.name for path in report.parent.iterdir() if path.suffix == ".tmp") == []
    (*_, last) = ElementTree.parse(report).findall(".//error")
    assert last.get("message") == "The run was ended before this was judged."


def test_a_report_keeps_its_files_permissions_and_goes_through_a_link(report: Path) -> None:
    report.chmod(0o640)
    JUnitFile(report, "task", ["a.cu"]).write(Reached(), "why")
    assert report.stat().st_mode & 0o777 == 0o640
    link = report.with_name("link.xml")
    link.symlink_to(report)
    JUnitFile(link, "task", ["a.cu"]).write(Reached(), "why not")
    assert link.is_symlink() and "why not" in report.read_text()


def test_a_report_into_a_pipe_is_written_once_and_the_pipe_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # else opening it for writing waits
    file = JUnitFile(pipe, "task", ["a.cu"])
    assert os.read(reader, 1) == b""  # nobody has opened it yet: a reader that waits goes on waiting
    file.write(Reached(), "why")
    assert pipe.is_fifo() and os.read(reader, 1 << 16).count(b"</testsuites>") == 1
    os.close(reader)


def test_a_report_that_does_not_fit_on_the_disk_is_one_sentence_and_leaves_no_half(small_disk: Path) -> None:
    report = small_disk / "out.xml"
    file = JUnitFile(report, "task", ["a.cu"])
    before = report.read_bytes()
    (small_disk / "fill").write_bytes(b"x" * (180 << 10))
    with pytest.raises(UsageError, match=r"out\.xml cannot be written: No space"):
        JUnitFile(report, "task", ["long" * 100] * 1000)
    assert report.read_bytes() == before and {p.name for p in small_disk.iterdir()} == {"out.xml", "fill"}
    file.write(Reached(), "there is room for this")
