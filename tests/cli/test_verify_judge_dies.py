"""A judge that dies in the middle of a run, and is not to be had again, costs no verdict that was reached."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from workbench.cli.verify import command
from workbench.judge import client

SCRIPTED = Path(__file__).parent.parent / "engine" / "scripted_judge.py"


@pytest.mark.parametrize("task, last", [("# loads\n", "pass"), ("ONCE", "error")])
def test_verdicts_that_were_reached_are_in_the_report_and_the_rest_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, last: str
) -> None:
    monkeypatch.setattr(client, "local_command", lambda *_: [sys.executable, str(SCRIPTED)])
    (tmp_path / "task.py").write_text(task)
    names = []
    for number, text in enumerate(("good", "FAILS", "DIES", "good too")):
        names.append(str(tmp_path / f"{number}.cu"))
        Path(names[-1]).write_text(text)
    report = tmp_path / "out.xml"
    done = CliRunner().invoke(
        command,
        [str(tmp_path / "task.py"), *names, "--json", "--junit", str(report)],
        catch_exceptions=False,
    )
    assert done.exit_code == 3
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [v["outcome"] for v in verdicts] == ["pass", "fail", "error", last]
    assert "killed by its candidate" in verdicts[2]["reason"]
    assert last == "pass" or "The task has no Model. Write one." in verdicts[3]["reason"]
    cases = ElementTree.parse(report).findall(".//testcase")
    assert [case.get("name") for case in cases] == names
    kinds = [
        "failure" if c.find("failure") is not None else "error" if c.find("error") is not None else "pass"
        for c in cases
    ]
    assert kinds == ["pass", "failure", "error", last]
