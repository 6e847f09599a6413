"""What every test gets: folders of its own instead of the user's, a seed that can be had again, and GPU tests skipped by reason.

The compile cache is shared by the whole run (and by nothing else): compiling the same kernel once for each test would
take most of the suite's time.
"""

from __future__ import annotations

import ctypes
import functools
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from warm_judge import WarmJudge

ROOT = Path(__file__).resolve().parent.parent

_SEED = int(os.environ.get("WORKBENCH_TEST_SEED") or int.from_bytes(os.urandom(4), "little"))
SLOWEST_FILES = 25
_FOLDER_VARIABLES = ("CACHE", "CONFIG", "DATA", "STATE")


@functools.cache
def why_no_gpu() -> str:
    """Empty where the CUDA driver sees a device, else the reason to skip; asked once, without torch."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver on this machine (libcuda.so.1)"
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return "the NVIDIA driver does not start here"
    return "" if count.value else "the NVIDIA driver sees no GPU"


def pytest_configure(config: pytest.Config) -> None:
    """Redirect the user's folders before anything of workbench is imported; child processes inherit them."""
    home = Path(tempfile.mkdtemp(prefix="workbench-tests-"))
    home.chmod(0o755)  # a sandboxed process that gave up root still has to reach what it may read
    # A worker of pytest-xdist inherits the compile cache, which many processes may use at once, and nothing else.
    own = _FOLDER_VARIABLES[1:] if hasattr(config, "workerinput") else _FOLDER_VARIABLES
    for name in own:
        folder = home / name.lower()
        folder.mkdir()
        os.environ[f"XDG_{name}_HOME"] = str(folder)
    # Sockets live here, and a socket's path may have 107 bytes at most: pytest's own folders are too deep.
    runtime = home / "run"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    os.environ["WORKBENCH_SESSIONS"] = str(home / "sessions")
    config.stash[_HOME] = home
    _configure_hypothesis()


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_HOME], ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"random seed {_SEED} (WORKBENCH_TEST_SEED={_SEED} draws the same again)")
    # With --durations the files too, since a file of a thousand quick tests is in no list of slow ones.
    if terminalreporter.config.getoption("durations"):
        spent: dict[str, float] = {}
        for report in (r for reports in terminalreporter.stats.values() for r in reports):
            if isinstance(report, pytest.TestReport):
                file = report.nodeid.partition("::")[0]
                spent[file] = spent.get(file, 0.0) + report.duration
        slowest = sorted(spent.items(), key=lambda item: -item[1])[:SLOWEST_FILES]
        terminalreporter.write_line(", ".join(f"{file} {seconds:.0f} s" for file, seconds in slowest))


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # for --dist loadgroup: a file stays whole unless it says what in it belongs together
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and (reason := why_no_gpu()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


def _seed_of(request: pytest.FixtureRequest) -> str:
    # Not the node's id: pytest-xdist adds the group to it, and the same test alone would draw something else.
    return f"{_SEED}:{request.node.path.name}:{request.node.name}"


@pytest.fixture(autouse=True)
def _seeded(request: pytest.FixtureRequest) -> Iterator[None]:
    """Python's own generator starts anew in each test, from the run's seed and the test's name."""
    state = random.getstate()
    random.seed(_seed_of(request))
    yield
    random.setstate(state)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed for this test: the run's seed and the test's name give the same one again."""
    chosen = random.Random(_seed_of(request)).getrandbits(31)
    print(f"seed {chosen} (WORKBENCH_TEST_SEED={_SEED})")
    return chosen


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty sessions folder for this test alone; child processes see it too."""
    folder = tmp_path / "sessions"
    monkeypatch.setenv("WORKBENCH_SESSIONS", str(folder))
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; skipped where none can be mounted."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout: README.md, docs/, tasks/ and the package stand here."""
    return ROOT


@pytest.fixture(scope="session")
def judge() -> Iterator[WarmJudge]:
    """One warm judge for all candidates of the run: starting one costs more than a verdict."""
    if not any(shutil.which(compiler) for compiler in ("g++", "clang++", "c++")):
        pytest.skip("the host target needs a C++ compiler (apt-get install g++)")
    from warm_judge import WarmJudge  # not before the folders are redirected

    warm = WarmJudge()
    yield warm
    warm.close()


_HOME = pytest.StashKey[Path]()


def _configure_hypothesis() -> None:
    try:
        import hypothesis
    except ImportError:
        return
    # No deadline: it is a test of timing, and eight of them share two cores here. The blob repeats a failure exactly.
    hypothesis.settings.register_profile(
        "workbench",
        deadline=None,
        print_blob=True,
        database=None,
        suppress_health_check=[
            hypothesis.HealthCheck.too_slow,
            hypothesis.HealthCheck.function_scoped_fixture,
        ],
    )
    hypothesis.settings.load_profile("workbench")
