"""How many judges a session has: as the user says, else one, and on GPUs those that are visible."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_world import World, until

from workbench.core.config import load_config
from workbench.core.errors import UsageError
from workbench.core.messages import ReadVerdict, SubmitCandidate
from workbench.core.verdict import decode_verdict
from workbench.engine import client as engine_client
from workbench.engine.posts import choose_posts
from workbench.profile.devices import Device
from workbench.profile.nvml import Reading

TWO = Reading(
    devices=(
        Device(uuid="GPU-aa", name="H200", index=0, used_bytes=1 << 30),
        Device(uuid="GPU-bb", name="H200", index=1),
    ),
    driver="580.1",
)


def test_the_host_gets_one_judge_or_as_many_as_are_asked_for_and_no_driver_is_asked() -> None:
    def never() -> Reading:
        raise AssertionError("the driver was asked")

    (one,) = choose_posts("host", None, read=never).posts
    assert (one.name, one.env) == ("", {})
    assert [post.name for post in choose_posts("host", 3, read=never).posts] == [
        "Judge 1",
        "Judge 2",
        "Judge 3",
    ]


def test_gpus_get_one_judge_each_where_they_are_named_and_one_in_all_where_none_is() -> None:
    named = choose_posts("cuda", None, environment={"CUDA_VISIBLE_DEVICES": "1,0"}, read=lambda: TWO)
    assert [post.env for post in named.posts] == [
        {"CUDA_VISIBLE_DEVICES": "1"},
        {"CUDA_VISIBLE_DEVICES": "0"},
    ]
    assert named.posts[0].name == "The judge on GPU 1 (H200)"
    unasked = choose_posts("cuda", None, environment={}, read=lambda: TWO)
    assert [post.env for post in unasked.posts] == [{"CUDA_VISIBLE_DEVICES": "GPU-bb"}]
    assert len(choose_posts("cuda", 2, environment={}, read=lambda: TWO).posts) == 2


def test_without_a_gpu_one_judge_is_started_all_the_same_since_it_says_what_is_missing() -> None:
    found = choose_posts("cuda", 4, environment={}, read=Reading)
    assert len(found.posts) == 1 and found.posts[0].env == {}
    assert found.warnings == ("There is no GPU here.",)


def test_a_projects_file_cannot_take_the_machine(tmp_path: Path) -> None:
    (tmp_path / "workbench.toml").write_text("[judge]\njudges = 8\n")
    user = tmp_path / "user.toml"
    with pytest.raises(UsageError, match=r"judge\.judges may not be set by a project's file"):
        load_config(folder=tmp_path, user=user)
    (tmp_path / "workbench.toml").unlink()
    user.write_text("[judge]\njudges = 2\n")
    assert load_config(folder=tmp_path, user=user).judge.judges == 2
    user.write_text("[judge]\njudges = 0\n")
    with pytest.raises(UsageError, match=r"judge\.judges = 0 is not possible"):
        load_config(folder=tmp_path, user=user)


async def test_each_visible_gpu_has_a_judge_that_sees_no_other(
    opened: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-cc")
    (opened.root / "who").mkdir()
    monkeypatch.setenv("SCRIPTED_FOLDER", str(opened.root / "who"))
    start = engine_client.start(str(opened.task), target="cuda")
    opened.starts.append(start)
    client = await opened._attach(start, "ada")
    for name in ("WAITS one", "WAITS other"):
        await client.request(SubmitCandidate(source=name.encode(), name=name))
    both = ("c0001", "c0002")
    await until(client, lambda s: all(c in s.candidates and s.candidates[c].state == "judging" for c in both))
    (opened.root / "who" / "go").write_text("")
    await until(client, lambda s: all(s.candidates[c].state == "passed" for c in both))
    seen = [
        decode_verdict((await client.request(ReadVerdict(candidate=c))).data).device["visible"] for c in both
    ]
    assert sorted(seen) == ["3", "GPU-cc"]


async def test_the_command_lines_number_of_judges_holds_over_the_files(opened: World) -> None:
    opened.config.write_text(opened.config.read_text() + "judges = 3\n")
    start = engine_client.start(str(opened.task), judges=2)
    opened.starts.append(start)
    client = await opened._attach(start, "ada")
    await until(client, lambda _: (client.progress.judges, client.progress.working) == (2, 2))
