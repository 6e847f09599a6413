"""workbench.toml: a project's over the user's, typos named with the choices, and nothing that runs code from a clone."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core.config import Config, load_config
from workbench.core.errors import UsageError


class Files:
    """A user's file and a project's."""

    def __init__(self, folder: Path) -> None:
        self.user = folder / "home" / "workbench.toml"
        self.project = folder / "project"
        self.task = self.project / "tasks" / "task.py"
        self.user.parent.mkdir()
        self.task.parent.mkdir(parents=True)
        self.task.write_text("")

    def load(self) -> Config:
        return load_config(task=str(self.task), folder=self.project, user=self.user)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_without_files_the_defaults_hold(files: Files) -> None:
    assert files.load() == Config()
    assert (files.load().sweep.limit, files.load().judge.target, files.load().judge.timeout_s) == (
        64,
        None,
        None,
    )


def test_the_users_file_may_set_everything(files: Files) -> None:
    files.user.write_text(
        'author = "ada"\nsessions = "~/runs"\n[judge]\ntarget = "cuda"\narch = "sm_90a"\ntimeout_s = 3\n'
        'task_timeout_s = 9.5\npython = "/opt/python"\n[sweep]\nlimit = 12\n'
        '[screen]\ntheme = "nord"\neditor = "vim -f"\n'
    )
    config = files.load()
    assert (config.author, config.judge.python, config.screen.editor) == ("ada", "/opt/python", "vim -f")
    assert (config.judge.target, config.judge.arch, config.judge.timeout_s) == ("cuda", "sm_90a", 3.0)
    assert config.sessions == str(Path("~/runs").expanduser())


def test_the_projects_settings_win_and_the_users_others_stay(files: Files) -> None:
    files.user.write_text(
        'author = "ada"\n[judge]\ntarget = "cuda"\npython = "/opt/python"\n[sweep]\nlimit = 9\n'
    )
    (files.project / "workbench.toml").write_text('sessions = "out"\n[judge]\ntarget = "host"\n')
    config = files.load()
    assert (config.author, config.judge.target, config.judge.python) == ("ada", "host", "/opt/python")
    assert (config.sweep.limit, config.sessions) == (9, str(files.project / "out"))


def test_the_file_beside_the_task_goes_before_the_one_of_the_current_folder(files: Files) -> None:
    (files.project / "workbench.toml").write_text("[sweep]\nlimit = 1\n")
    (files.task.parent / "workbench.toml").write_text("[sweep]\nlimit = 2\n")
    assert files.load().sweep.limit == 2


@pytest.mark.parametrize(
    "line", ['[judge]\npython = "/tmp/evil"', '[screen]\neditor = "rm -rf ~"', 'author = "eve"']
)
def test_a_projects_file_may_not_set_what_runs_code_or_signs(files: Files, line: str) -> None:
    (files.project / "workbench.toml").write_text(line)
    with pytest.raises(UsageError, match="may not be set by a project's file") as refused:
        files.load()
    assert str(files.project / "workbench.toml") in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[judge]\ntraget = "host"', ["no setting judge.traget", "Did you mean target?", "timeout_s"]),
        ('[judge]\ntarget = "gpu"', ["judge.target = 'gpu'", "Choices: host, cuda"]),
        ("[judge]\ntimeout_s = -1", ["judge.timeout_s = -1", "> 0"]),
        ('[judge]\narch = "hopper"', ["judge.arch = 'hopper'"]),
        ("[sweep]\nlimit = 100000", ["sweep.limit = 100000", "<= 1000"]),
        ("[sweeep]\nlimit = 1", ["no setting sweeep", "Did you mean sweep?"]),
        ("sweep = 3", ["sweep = 3"]),
        ("[judge", ["is not TOML"]),
        ("\0", ["is not TOML"]),
    ],
)
def test_a_typo_is_one_sentence_with_the_choices(files: Files, text: str, said: list[str]) -> None:
    for path in (files.user, files.project / "workbench.toml"):
        path.write_text(text)
        with pytest.raises(UsageError) as refused:
            files.load()
        for words in (*said, str(path)):
            assert words in str(refused.value)
        path.write_text("")


def test_a_file_that_is_not_utf_8_is_said(files: Files) -> None:
    files.user.write_bytes(b"author = '\xff'")
    with pytest.raises(UsageError, match="is not TOML"):
        files.load()


def test_a_module_as_task_looks_in_the_current_folder(files: Files) -> None:
    (files.project / "workbench.toml").write_text("[sweep]\nlimit = 5\n")
    assert load_config(task="pkg.mod:Model", folder=files.project, user=files.user).sweep.limit == 5
