"""Executes a task file and says which project sources came with it.

The task is the user's own and trusted; this is the one place that runs it. A file inside a package is imported
under its package's name, so that relative imports work. Every size gets its own module, executed from the same
text with other integers (`literals`), so constants that are derived from a size follow it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import itertools
import linecache
import site
import sys
import sysconfig
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.core.errors import TaskError
from workbench.judge.worker.task.limits import TooLarge
from workbench.judge.worker.task.literals import override

_project_modules: set[str] = set()
"""Modules of tasks loaded before in this process; they are dropped before the next load, since they may have
changed on disk since."""
_LONGEST = 240
"""Characters of an exception's text that go into a sentence."""
_serial = itertools.count(1)


class TaskFile:
    """Where a task stands: its file, its class, and how it is imported."""

    def __init__(self, file: Path, class_name: str, *, folder: Path | None = None) -> None:
        self.file = file.resolve()
        self.class_name = class_name
        if folder is not None:
            self.name = folder.resolve().name
        else:
            self.name = self.file.stem if class_name == "Model" else class_name
        self.root, self.package = _package_of(self.file)
        self.folder = folder.resolve() if folder is not None else None
        try:
            data = self.file.read_bytes()
        except OSError as error:
            raise TaskError(
                f"The task file {file} cannot be read: {error.strerror or error}.",
                do="Check its path and rights.",
            ) from None
        try:
            self.source = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise TaskError(
                f"The task file {file} is not UTF-8 text (byte {error.start}).",
                do="Name a Python file in KernelBench's form.",
            ) from None
        try:
            self.tree = ast.parse(self.source, filename=str(self.file))
        except (SyntaxError, ValueError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            message = error.msg if isinstance(error, SyntaxError) else str(error)
            raise TaskError(
                f"The task file {self.file.name} is not valid Python: {message}{line}.",
                do="Correct it and save.",
            ) from None

    def prepare(self) -> None:
        """Forget what an earlier load imported, make the task's folder importable, import its package."""
        for name in _project_modules:
            sys.modules.pop(name, None)
        _project_modules.clear()
        importlib.invalidate_caches()
        if str(self.root) not in sys.path:
            sys.path.insert(0, str(self.root))
        self._before = set(sys.modules)
        self._seen: dict[str, Path | None] = {}
        if self.package:
            with _no_bytecode():
                try:
                    importlib.import_module(self.package)
                except BaseException as error:
                    self.sources()
                    raise import_failure(error, self) from None

    def execute(self, overrides: Mapping[str, int], provided: Mapping[str, Any]) -> types.ModuleType:
        """A fresh module of the task with `overrides` in place of its integers; `provided` names are predefined.

        Raises:
            TaskError: the file raises, or an override names nothing in it.
        """
        tree = override(self.source, str(self.file), overrides)
        # Registered, since dataclasses look their module up; one name a size, since each size has its own classes.
        name = f"{self.package}.{self.file.stem}" if self.package else self.file.stem
        if overrides or name in sys.modules:
            name = f"{name}__{next(_serial)}"
        module = types.ModuleType(name)
        module.__file__ = str(self.file)
        module.__package__ = self.package
        module.__dict__.update(provided)
        sys.modules[name] = module
        _project_modules.add(name)
        linecache.checkcache(str(self.file))
        with _no_bytecode():
            try:
                exec(compile(tree, str(self.file), "exec"), module.__dict__)
            except BaseException as error:
                self.sources()
                raise import_failure(error, self) from None
        return module

    def release(self, module: types.ModuleType) -> None:
        """Forget a size that was only tried."""
        sys.modules.pop(module.__name__, None)
        _project_modules.discard(module.__name__)

    def sources(self) -> list[Path]:
        """Every project source imported so far, the task file first: not site-packages, not the standard library."""
        for name in set(sys.modules) - self._before - self._seen.keys():
            path = getattr(sys.modules.get(name), "__file__", None)
            self._seen[name] = None
            if not isinstance(path, str) or name.split(".")[0] in ("torch", "workbench"):
                continue
            file = Path(path).resolve()
            if is_project_source(file):
                self._seen[name] = file
                _project_modules.add(name)
        return [self.file, *sorted({f for f in self._seen.values() if f is not None} - {self.file})]


def locate(path: str) -> TaskFile:
    """The task that `path` names: a .py file, a folder, "file.py:Class" or "pkg.module:Class".

    Raises:
        TaskError: there is no such file, folder or module, or a folder holds no one task.
    """
    place, _, class_name = path.rpartition(":") if _names_class(path) else (path, "", "Model")
    target = Path(place).expanduser()
    if target.is_dir():
        return TaskFile(_file_in(target, class_name), class_name, folder=target)
    if target.is_file():
        if target.suffix != ".py":
            raise TaskError(
                f"The task {place} is not a Python file.", do="Name a .py file in KernelBench's form."
            )
        return TaskFile(target, class_name)
    if place.endswith(".py") or "/" in place or (class_name == "Model" and not _looks_dotted(place)):
        raise TaskError(f"There is no task at {place}.", do="Name a .py file, a folder or pkg.module:Class.")
    if class_name == "Model" and "." not in place and ":" not in path:
        raise TaskError(
            f"There is no task called {place} here.", do="Name a .py file, a folder or pkg.module:Class."
        )
    return TaskFile(_module_file(place), class_name)


def _names_class(path: str) -> bool:
    return ":" in path and path.rpartition(":")[2].isidentifier()


def _looks_dotted(place: str) -> bool:
    return all(part.isidentifier() for part in place.split("."))


def _file_in(folder: Path, class_name: str) -> Path:
    if (folder / "task.py").is_file():
        return folder / "task.py"
    having = [f for f in sorted(folder.glob("*.py")) if _defines(f, class_name)]
    if len(having) == 1:
        return having[0]
    if not having:
        raise TaskError(
            f"The folder {folder} holds no task.py and no file with a class `{class_name}`.",
            do="Name the task's .py file.",
        )
    names = ", ".join(f.name for f in having)
    raise TaskError(f"The folder {folder} holds several tasks: {names}.", do="Name one of these files.")


def _defines(file: Path, class_name: str) -> bool:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    return any(isinstance(node, ast.ClassDef) and node.name == class_name for node in tree.body)


def _module_file(dotted: str) -> Path:
    """Find a module without executing it (parents are looked up by path, too)."""
    parts = dotted.split(".")
    for base in [Path.cwd(), *(Path(p or ".") for p in sys.path)]:
        stem = base.joinpath(*parts)
        for file in (stem.with_suffix(".py"), stem / "__init__.py"):
            if file.is_file():
                return file
    raise TaskError(
        f"There is no module {dotted} here.",
        do="Run from the folder that holds its package, or name its .py file.",
    )


def _package_of(file: Path) -> tuple[Path, str]:
    """The folder to import from, and the dotted package that holds `file` ("" for none)."""
    folder, parts = file.parent, list[str]()
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


_OUTSIDE = tuple(
    {
        str(Path(p).resolve())
        for p in [
            *sysconfig.get_paths().values(),
            *(site.getsitepackages() if hasattr(site, "getsitepackages") else []),
            site.getusersitepackages(),
        ]
        # "data" is the prefix of the whole environment, in which a checkout may stand.
        if p not in (sysconfig.get_paths()["data"], sysconfig.get_paths()["scripts"])
    }
)
_OWN = Path(__file__).resolve().parents[3]


def is_project_source(file: Path) -> bool:
    """Whether a file belongs to the user's project and so to the fingerprint."""
    text = str(file)
    if "site-packages" in file.parts or "dist-packages" in file.parts or not file.is_file():
        return False
    return not any(text.startswith(outside + "/") for outside in _OUTSIDE) and _OWN not in file.parents


def fingerprint(files: list[Path], root: Path, extra: str = "") -> str:
    """SHA-256 over names (relative to `root`) and contents of `files`, and `extra`."""
    digest = hashlib.sha256()
    for file in files:
        name = str(file.relative_to(root)) if file.is_relative_to(root) else file.name
        body = hashlib.sha256()
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                body.update(chunk)
        digest.update(f"{name}\0{body.hexdigest()}\0".encode())
    digest.update(extra.encode())
    return digest.hexdigest()


def import_failure(error: BaseException, task: TaskFile) -> TaskError:
    """One sentence for whatever a task's module raised."""
    if isinstance(error, KeyboardInterrupt):
        raise error
    if isinstance(error, TooLarge):
        raise error
    if isinstance(error, TaskError):
        return error
    where = line_of(error, task.file)
    if isinstance(error, ModuleNotFoundError):
        return TaskError(
            f"The task {task.file.name} imports {error.name!r}, which is not installed here{where}.",
            do="Install it in the judge's Python, or set judge.python in workbench.toml to one that has it.",
        )
    if isinstance(error, SyntaxError):
        return TaskError(
            f"A source that {task.file.name} imports is not valid Python: {error.msg} "
            f"({Path(error.filename or '?').name}, line {error.lineno}).",
            do="Correct it and save.",
        )
    return TaskError(
        f"The task {task.file.name} raises when it is imported: {describe(error)}{where}.",
        do="Correct it and save.",
    )


def describe(error: BaseException) -> str:
    """The error's type and first line, of bounded length and without a final stop."""
    text = " ".join(str(error).split())
    if len(text) > _LONGEST:
        first = text[:_LONGEST].rpartition(". ")[0]
        text = first or text[:_LONGEST] + " ..."
    return (f"{type(error).__name__}: {text}" if text else type(error).__name__).rstrip(".")


def line_of(error: BaseException, file: Path) -> str:
    """ " (line 12)" for the innermost frame in `file`, or ""."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line})" if line else ""


class _no_bytecode:
    """Compiled files are dated by the second: one written now could hide an edit made within it."""

    def __enter__(self) -> None:
        self._before = sys.dont_write_bytecode
        sys.dont_write_bytecode = True

    def __exit__(self, *_: object) -> None:
        sys.dont_write_bytecode = self._before
