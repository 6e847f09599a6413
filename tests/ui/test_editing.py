"""Editing never touches the frozen copy, and never overwrites what a person wrote."""

from __future__ import annotations

import os

import pytest

from workbench.core.errors import SessionError
from workbench.ui.editing import editor_command, working_file


def test_a_copy_is_edited_and_what_was_written_before_is_kept(tmp_path) -> None:
    first = working_file(str(tmp_path), "c0001", b"one")
    assert first == tmp_path / "work" / "c0001.cu" and first.read_bytes() == b"one"
    assert working_file(str(tmp_path), "c0001", b"one") == first
    first.write_bytes(b"one, edited")
    second = working_file(str(tmp_path), "c0001", b"one")
    assert second != first and second.read_bytes() == b"one"
    assert first.read_bytes() == b"one, edited"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_session_is_one_sentence(tmp_path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SessionError, match="cannot be written"):
        working_file(str(tmp_path), "c0001", b"one")


def test_a_session_that_is_gone_is_one_sentence(tmp_path) -> None:
    with pytest.raises(SessionError, match="cannot be written"):
        working_file(str(tmp_path / "gone"), "c0001", b"one")


def test_the_setting_goes_before_visual_and_visual_before_editor_and_words_are_split(monkeypatch) -> None:
    assert editor_command() is None
    monkeypatch.setenv("EDITOR", "true")
    assert editor_command() == ["true"]
    monkeypatch.setenv("VISUAL", "sh -c 'exit 0'")
    assert editor_command() == ["sh", "-c", "exit 0"]
    assert editor_command("true --wait") == ["true", "--wait"]
    assert editor_command("no-such-editor-anywhere") == ["sh", "-c", "exit 0"]
    monkeypatch.setenv("VISUAL", "no-such-editor-anywhere --wait")
    assert editor_command() == ["true"]
    monkeypatch.setenv("VISUAL", "broken 'quote")
    assert editor_command() == ["true"]
