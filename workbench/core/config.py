"""`workbench.toml`: the user's file and a project's, read strictly, so that a typo is an error and not a silent default.

A project's file comes with a cloned repository, so it may set nothing that runs code, reaches out or names a key: it
is another, smaller struct. Where both set something, the project's wins.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from workbench.core.errors import UsageError

FILE = "workbench.toml"
MAX_JUDGES = 64
"""The most judges of one session; each takes some 0.5 GB of the host's memory."""

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ProjectJudge(_Strict, frozen=True, kw_only=True):
    """[judge] as a project may set it."""

    target: Literal["host", "cuda"] | None = None
    """None: host."""
    arch: Annotated[str, msgspec.Meta(pattern=r"^sm_[0-9]{2,3}[af]?$")] | None = None
    """Architecture to compile for, "sm_90a"; None: the device's, else sm_90a."""
    timeout_s: Seconds | None = None
    """Limit of one launch of a candidate; None: the target's default."""
    task_timeout_s: Seconds = 120.0
    """Limit of loading the task."""


class Judge(ProjectJudge, frozen=True, kw_only=True):
    """[judge] of the user's file."""

    judges: Annotated[int, msgspec.Meta(ge=1, le=MAX_JUDGES)] | None = None
    """How many judges work side by side; None: one on the host, one for each GPU of CUDA_VISIBLE_DEVICES, else one."""
    python: str | None = None
    """The Python that runs the judge, with torch and the task's own dependencies; None: this one. A command."""


class Sweep(_Strict, frozen=True, kw_only=True):
    """[sweep]"""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 64
    """The most combinations of knobs that one sweep tries."""


class ProjectScreen(_Strict, frozen=True, kw_only=True):
    """[screen] as a project may set it."""

    theme: Annotated[str, msgspec.Meta(min_length=1, max_length=60)] | None = None
    """A theme of Textual by name; None: the default."""


class Screen(ProjectScreen, frozen=True, kw_only=True):
    """[screen] of the user's file."""

    editor: str | None = None
    """The command that `edit` runs on a candidate; None: $VISUAL, $EDITOR, else the inline editor. A command."""


class ProjectConfig(_Strict, frozen=True, kw_only=True):
    """What a project's workbench.toml may hold."""

    sessions: str | None = None
    """The folder of sessions; a relative one starts at the file's folder. None: ./sessions."""
    judge: ProjectJudge = ProjectJudge()
    sweep: Sweep = Sweep()
    screen: ProjectScreen = ProjectScreen()


class Config(ProjectConfig, frozen=True, kw_only=True):
    """What the user's workbench.toml may hold, and what both amount to."""

    author: Annotated[str, msgspec.Meta(min_length=1, max_length=60)] | None = None
    """How marks are signed; None: the login name."""
    judge: Judge = Judge()
    screen: Screen = Screen()


def user_file() -> Path:
    """Where the user's file stands (~/.config/workbench/workbench.toml on Linux)."""
    import platformdirs

    return platformdirs.user_config_path("workbench") / FILE


def project_file(folders: Sequence[Path]) -> Path | None:
    """The project's file: in the first of `folders` (the task's, then the current one) that has one."""
    for folder in folders:
        if (folder / FILE).is_file():
            return folder / FILE
    return None


def load_config(*, task: str | None = None, folder: Path | None = None, user: Path | None = None) -> Config:
    """The settings that hold for a task: the project's over the user's over the defaults.

    Args:
        task: a task's path, whose folder is looked in first; a module's name or None is no path.
        folder: the current folder; None takes the process's.
        user: the user's file; None takes `user_file()`.

    Raises:
        UsageError: a file is not TOML, or holds an unknown or impossible setting (the choices are listed).
    """
    here = folder or Path.cwd()
    own = user or user_file()
    folders = [here]
    if task and (path := here / task).exists():
        folders.insert(0, path if path.is_dir() else path.parent)
    mine, mine_set = _read(own, Config) if own.is_file() else (Config(), {})
    found = project_file(folders)
    if found is None or found.resolve() == own.resolve():
        return mine
    _, theirs_set = _read(found, ProjectConfig)
    merged: Config = msgspec.convert(_merged(mine_set, theirs_set), Config)
    return merged


def _read(path: Path, kind: type[Any]) -> tuple[Any, dict[str, Any]]:
    """The file as `kind`, and what it sets itself."""
    try:
        raw = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", do="Check its permissions.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}.", do="Correct that line.") from None
    try:
        read = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise _explained(path, str(error), raw, kind) from None
    if isinstance(raw.get("sessions"), str):
        raw["sessions"] = str(path.parent / Path(raw["sessions"]).expanduser())
        read = msgspec.convert(raw, kind)
    return read, raw


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = dict(under)
    for name, value in over.items():
        section = isinstance(value, dict) and isinstance(both.get(name), dict)
        both[name] = _merged(both[name], value) if section else value
    return both


def _explained(path: Path, message: str, raw: dict[str, Any], kind: type[Any]) -> UsageError:
    """msgspec's complaint as a sentence that names the setting and lists the choices."""
    place = re.search(r"- at `\$\.?(.*?)`", message)
    where = place[1] if place else ""
    unknown = re.search(r"unknown field `(.*?)`", message)
    if unknown:
        name = ".".join(filter(None, (where, unknown[1])))
        return _unknown(path, name, kind)
    section, field = _find(kind, where)
    choices = _choices(section, field)
    what = message.partition(" - at ")[0]
    do = f"Choices: {', '.join(choices)}." if choices else f"{what}."
    return UsageError(f"{path}: {where or 'the file'} = {_value(raw, where)!r} is not possible.", do=do)


def _unknown(path: Path, name: str, kind: type[Any]) -> UsageError:
    section, field = _find(kind, name)
    theirs = kind is ProjectConfig and _has(Config, name)
    if theirs:
        return UsageError(
            f"{path}: {name} may not be set by a project's file, since a cloned repository must not decide what runs here.",
            do=f"Set it in {user_file()}.",
        )
    known = list(section.__struct_fields__)
    close = difflib.get_close_matches(field, known, 1)
    hint = f"Did you mean {close[0]}? " if close else ""
    return UsageError(f"{path}: there is no setting {name}.", do=f"{hint}Choices: {', '.join(known)}.")


def _find(kind: type[Any], dotted: str) -> tuple[type[Any], str]:
    """The struct that holds the setting `dotted`, and its last name."""
    *sections, field = dotted.split(".")
    for section in sections:
        kind = typing.get_type_hints(kind).get(section, kind)
    return kind, field


def _has(kind: type[Any], dotted: str) -> bool:
    section, field = _find(kind, dotted)
    return field in getattr(section, "__struct_fields__", ())


def _choices(section: type[Any], field: str) -> list[str]:
    hint = typing.get_type_hints(section).get(field)
    return [
        str(choice)
        for part in typing.get_args(hint)
        if typing.get_origin(part) is Literal
        for choice in typing.get_args(part)
    ]


def _value(raw: dict[str, Any], dotted: str) -> Any:
    value: Any = raw
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
