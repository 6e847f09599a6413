"""What a candidate, a task or a file name says reaches the terminal, JSON and XML as text only."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from click.testing import CliRunner

from workbench.cli.list import command
from workbench.cli.plain import json_line, plain
from workbench.core.events import CandidateAdded, CandidateCancelled, SessionStarted
from workbench.engine.sessions import create_folder
from workbench.engine.store import Store

TASK = Path(__file__).parent.parent / "judge" / "candidates" / "norm" / "task.py"


def test_plain_leaves_no_escape_control_or_direction_character() -> None:
    said = plain("a\x1b[31m\x9b2J\u202e\u2066\x07\r\nb\ud800")
    assert said.isprintable() and said.startswith("a") and said.rstrip().endswith("b")


def test_a_json_line_says_the_same_without_one_character_that_drives_a_terminal(seed: int) -> None:
    rng = random.Random(seed)
    said = '\x1b[31m\x9b2J\u202e\ud800 \U0001f600 \U000e0001 \\ " é' + "".join(
        chr(rng.choice([rng.randrange(0x300), rng.randrange(0x110000)])) for _ in range(2000)
    )
    line = json_line(json.dumps({said: [said]}, ensure_ascii=False))
    assert line.isprintable()
    # Two lone halves side by side are read back as one character, by any reader.
    assert json.loads(line) == json.loads(json.dumps({said: [said]}))


def test_a_list_of_sessions_from_elsewhere_shows_nothing_but_text(tmp_path: Path) -> None:
    evil = "\x1b[31m\x9b2J\x1b]0;t\x07\u202e\r\n"
    folder = create_folder(tmp_path, "softmax.py")
    store, _ = Store.open(folder)
    store.append(
        [
            SessionStarted(task_path=evil, task_name=evil, version=evil, target=evil, arch=evil),
            CandidateAdded(candidate="c0001", name=evil, sha256="", provenance=evil, note=evil),
            CandidateCancelled(candidate="c0001", reason=evil),
        ]
    )
    store.close()
    renamed = tmp_path / f"evil{evil}"
    folder.rename(renamed)
    for arguments in ([], ["--json"], [str(renamed)], [str(renamed), "--json"]):
        said = CliRunner().invoke(
            command, arguments, env={"WORKBENCH_SESSIONS": str(tmp_path)}, catch_exceptions=False
        )
        assert said.exit_code == 0
        assert all(c.isprintable() or c == "\n" for c in said.output), repr(said.output)
        assert said.output.count("\n") == (1 if arguments else 2)


def test_hostile_file_names_get_their_verdicts_in_a_table_json_and_xml(tmp_path: Path) -> None:
    names = [b"not-\xff-utf8.cu", "e\x1b[31m\x9b2J\u202e[red]x]]>&.cu".encode(), b"two\nlines.cu"]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"no plan \x1b[2J\xff")
    for form in ("--json", "--no-timing"):
        command = [sys.executable, "-m", "workbench", "verify", str(TASK), *names, form, "--junit", "out.xml"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=200)
        assert done.returncode == 1, done.stderr.decode()
        out = done.stdout.decode()
        assert all(c.isprintable() or c == "\n" for c in out)
        assert out.count("not-\\\\udcff-utf8.cu" if form == "--json" else "not-\\udcff-utf8.cu") >= 1
        cases = ElementTree.parse(tmp_path / "out.xml").findall(".//testcase")
        assert len(cases) == len(names) and all(case.find("failure") is not None for case in cases)


def test_a_name_that_is_not_utf8_is_one_sentence_for_a_task(tmp_path: Path) -> None:
    name = os.path.join(os.fsencode(tmp_path), b"t\xff\x1b[31m.py")
    Path(os.fsdecode(name)).write_text(TASK.read_text())
    done = subprocess.run(
        [sys.executable, "-m", "workbench", "verify", name, "x.cu"], capture_output=True, timeout=60
    )
    assert done.returncode == 2
    assert b"not UTF-8" in done.stderr and b"\x1b" not in done.stderr and b"Traceback" not in done.stderr
