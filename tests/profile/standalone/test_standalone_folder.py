"""A standalone program's folder comes to be whole or not at all, and nothing of a user's is lost to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from test_standalone_program_errors import PROGRAM

from workbench.core.errors import UsageError
from workbench.profile.standalone import MANIFEST, replacing, write_files

FILES = {
    "Makefile",
    "README.txt",
    "candidate.cu",
    "candidate.cubin",
    "driver.h",
    "for_nvcc.cu",
    "inputs",
    "main.cpp",
    "plan.txt",
    MANIFEST,
}


def _make(target: Path, *, force: bool = False, fill: bytes = b"x") -> None:
    with replacing(target, force=force) as new:
        write_files(PROGRAM, new)
        (new / "inputs").mkdir()
        (new / "inputs" / "0_x.bin").write_bytes(fill * 32)


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
def test_a_new_or_empty_folder_gets_the_program(there: bool, tmp_path: Path) -> None:
    target = tmp_path / "program"
    if there:
        target.mkdir()
    _make(target)
    assert _names(target) == FILES and _names(tmp_path) == {"program"}
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o777 & ~mask


def test_one_of_ours_is_made_again_and_what_else_lies_there_stays(tmp_path: Path) -> None:
    target = tmp_path / "program"
    _make(target)
    for made in ("standalone", "candidate.debug.cubin", "outputs/0_y.bin"):
        (target / made).parent.mkdir(exist_ok=True)
        (target / made).write_text("of the program before")
    for own in ("profile.ncu-rep", "notes/mine.txt", "inputs/mine.bin", "outputs/kept.bin"):
        (target / own).parent.mkdir(exist_ok=True)
        (target / own).write_text("mine")
    (target / "link").symlink_to(tmp_path)
    _make(target, fill=b"y")
    assert _names(target) == FILES | {"profile.ncu-rep", "notes", "outputs", "link"}
    assert (target / "inputs" / "0_x.bin").read_bytes() == b"y" * 32
    assert _names(target / "inputs") == {"0_x.bin", "mine.bin"} and _names(target / "outputs") == {"kept.bin"}
    assert (target / "notes" / "mine.txt").read_text() == "mine" and (target / "link").is_symlink()
    assert _names(tmp_path) == {"program"}


def test_results_alone_do_not_outlive_their_program(tmp_path: Path) -> None:
    target = tmp_path / "program"
    _make(target)
    (target / "outputs").mkdir()
    (target / "outputs" / "0_y.bin").write_text("of the program before")
    _make(target)
    assert _names(target) == FILES


def test_a_folder_of_somebody_elses_is_refused_and_kept(tmp_path: Path) -> None:
    target = tmp_path / "program"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="is not empty, and no standalone program"):
        _make(target)
    for text in ("", "{}", "[1", '{"workbench_standalone": 2, "program": {}, "files": {}}', "[" * 100_000):
        (target / MANIFEST).write_text(text)
        with pytest.raises(UsageError, match="is not empty"):
            _make(target)
    assert _names(target) == {"thesis.tex", MANIFEST} and _names(tmp_path) == {"program"}


def test_forced_it_takes_its_place_beside_what_is_there(tmp_path: Path) -> None:
    target = tmp_path / "program"
    (target / "inputs").mkdir(parents=True)
    for name in ("thesis.tex", "inputs/data.csv", "Makefile"):
        (target / name).write_text("mine")
    _make(target, force=True)
    assert _names(target) == FILES | {"thesis.tex"}
    assert _names(target / "inputs") == {"0_x.bin", "data.csv"}
    assert (target / "Makefile").read_text() != "mine", "files of the same names are replaced"


def test_an_edited_file_is_not_lost_unasked(tmp_path: Path) -> None:
    target = tmp_path / "program"
    _make(target)
    with (target / "main.cpp").open("a") as file:
        file.write("// my own timing\n")
    with pytest.raises(UsageError, match=r"main\.cpp was edited since it was made"):
        _make(target)
    assert (target / "main.cpp").read_text().endswith("// my own timing\n")
    _make(target, force=True)
    assert not (target / "main.cpp").read_text().endswith("// my own timing\n")


def test_a_manifest_cannot_name_a_users_file_away(tmp_path: Path) -> None:
    target = tmp_path / "program"
    target.mkdir()
    (tmp_path / "outside").write_text("mine")
    (target / "mine.txt").write_text("mine")
    files = '{"../outside": "", "mine.txt": "", "inputs/../../outside": ""}'
    (target / MANIFEST).write_text('{"workbench_standalone": 1, "program": {}, "files": ' + files + "}")
    _make(target)
    assert (tmp_path / "outside").exists() and (target / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("there", [False, True], ids=["new", "ours"])
def test_what_is_not_finished_leaves_everything_as_it_was(there: bool, tmp_path: Path) -> None:
    target = tmp_path / "program"
    if there:
        _make(target)
        before = {file.name: file.stat().st_mtime_ns for file in target.iterdir()}
    with pytest.raises(KeyboardInterrupt), replacing(target) as new:
        write_files(PROGRAM, new)
        raise KeyboardInterrupt
    assert _names(tmp_path) == ({"program"} if there else set())
    if there:
        assert {file.name: file.stat().st_mtime_ns for file in target.iterdir()} == before


def test_where_it_cannot_stand_it_says_so_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for target, said in (
        (tmp_path / "file", "is a file"),
        (tmp_path / "none" / "program", "There is no folder"),
        (tmp_path / "file" / "program", "There is no folder"),
    ):
        with pytest.raises(UsageError, match=said):
            _make(target)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(UsageError, match="the current folder"):
        _make(Path())


def test_a_link_to_a_folder_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    _make(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and _names(tmp_path / "real") == FILES
