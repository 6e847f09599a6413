"""What the documents promise exists: commands, options, keys, tasks and links."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from workbench.cli import COMMANDS
from workbench.core.config import Config, ProjectConfig, load_config
from workbench.core.locate import shipped_tasks
from workbench.core.verdict import decode_verdict

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
# design.md and judge.md are contracts and describe later versions too; these promise what is there now.
PROMISES = [
    page for page in PAGES if page.name not in ("design.md", "judge.md", "dialect.md", "CHANGELOG.md")
]

OPEN_LINE = "pip install -e . && workbench tasks/rmsnorm.py"
TEST_LINE = "pip install -e '.[test]' && pytest"


def _shell_lines(page: Path) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [line.split("#")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def _workbench_lines() -> list[str]:
    lines = [part.strip() for page in PROMISES for line in _shell_lines(page) for part in line.split("&&")]
    return sorted({line for line in lines if line.split()[0] == "workbench"})


def _help(*words: str) -> str:
    """The standard output of `workbench ... --help`."""
    ran = subprocess.run(
        [sys.executable, "-c", "from workbench.cli import main; main()", *words, "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_readme_has_the_two_lines_and_ci_runs_the_second() -> None:
    assert OPEN_LINE in _shell_lines(ROOT / "README.md")
    assert TEST_LINE in _shell_lines(ROOT / "README.md")
    # The same two commands, each on a line of its own: tests/test_ci_run.py says why.
    ci = (ROOT / ".ci" / "run").read_text()
    assert f'say "the README\'s test line: {TEST_LINE}"' in ci
    assert re.search(r"^pip install -q -e '\.\[test\]'\npytest$", ci, flags=re.MULTILINE)


@pytest.mark.parametrize("line", _workbench_lines())
def test_a_command_in_the_documents_exists_with_its_options(line: str) -> None:
    words = shlex.split(line)[1:]
    command = words[0] if words and words[0] in COMMANDS else "open"
    shown = _help(command)
    for option in (word.split("=")[0] for word in words if word.startswith("--")):
        assert option in shown, f"{line}: {command} has no {option}"
    for word in words:
        if word.startswith("tasks/"):
            assert (ROOT / word).is_file(), f"{line}: there is no {word}"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(command: str) -> None:
    assert "Example" in _help(command)


def test_the_readme_names_every_shipped_task() -> None:
    text = (ROOT / "README.md").read_text()
    assert all(f"`{task.name}`" in text for task in shipped_tasks())


def test_the_readme_shows_the_keys_that_the_screen_has() -> None:
    from workbench.ui.screens.bench import BenchScreen
    from workbench.ui.widgets.keybar import KEYS

    table = (ROOT / "README.md").read_text().split("## Keys")[1].split("\n## ")[0]
    shown = set(re.findall(r"`([^`\s$.]{1,2})`", table))
    bound = {b.key_display or key for b in BenchScreen.BINDINGS for key in b.key.split(",")}
    in_the_bar = {key for keys, _, _ in KEYS for key in (keys.split("/") if len(keys) > 1 else [keys])}
    assert shown <= bound, "the README promises a key that does nothing"
    assert in_the_bar <= shown


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    for link in links:
        if "://" not in link:
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_reference_of_workbench_toml_names_exactly_the_settings_there_are(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "workbench-toml.md").read_text()
    listed = dict(re.findall(r"^\| `([\w.]+)` \| .*? \| (yes|no) \|", text, flags=re.MULTILINE))
    assert listed == {
        name: "yes" if _settings(ProjectConfig).get(name) else "no" for name in _settings(Config)
    }

    (example,) = re.findall(r"^```toml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    own = tmp_path / "own.toml"
    own.write_text(example)
    read = load_config(folder=tmp_path, user=own)
    assert (read.author, read.judge.arch, read.sweep.limit) == ("kim", "sm_90a", 64)


def _settings(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """Every setting of a config struct by its dotted name."""
    found: dict[str, bool] = {}
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            found |= {f"{field.name}.{name}": True for name in _settings(field.type)}
        else:
            found[field.name] = True
    return found


def test_how_rare_is_too_rare_is_said_of_what_the_example_session_compared() -> None:
    """Three over the number is the share that is found with 95 %."""
    text = (ROOT / "docs" / "what-a-verdict-does-not-prove.md").read_text()
    said = re.search(
        r"`sessions/example-rmsnorm` ([\d,]+), in ([\d,]+) rows\).*? one in ([\d,]+); of rows one in ([\d,]+)\)",
        text,
    )
    assert said is not None
    elements, rows, of_elements, of_rows = (int(number.replace(",", "")) for number in said.groups())
    verdicts = [
        decode_verdict(path.read_bytes())
        for path in (ROOT / "sessions" / "example-rmsnorm" / "verdicts").glob("*.json")
    ]
    forward = [v for v in verdicts if not v.gradients]
    assert len(forward) == 5
    for verdict in forward:
        (numerics,) = (gate for gate in verdict.gates if gate.name == "numerics")
        assert numerics.evidence["elements_compared"] == elements
        assert rows == 64 * len(numerics.evidence["cases"])  # at size small: 64 rows of 512
    assert elements == rows * 512
    assert of_elements == round(elements / 3, -5) and of_rows == round(rows / 3, -2)
