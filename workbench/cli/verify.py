"""`workbench verify TASK CANDIDATE.cu...`: a verdict for each, in one warm judge (docs/design.md, section 7)."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec

from workbench import __version__
from workbench.cli.verify_table import Table, plain, width
from workbench.core.errors import JudgeError, UsageError
from workbench.core.locate import EVENT_LOG, LocatedTask, locate_session, locate_task
from workbench.core.messages import GateTicked
from workbench.core.plan import LIMITS
from workbench.core.task import TaskInfo
from workbench.core.verdict import Target, Verdict, VerdictCandidate, VerdictTask, encode_verdict
from workbench.dialect.source import from_answer, join
from workbench.judge.client import LOAD_LIMIT_S, MAX_SOURCE_BYTES, JudgeClient

_ARCH = re.compile(r"sm_\d{2,3}[af]?")
_PLAN = b"/*@plan"


class CandidateFile(msgspec.Struct, frozen=True):
    """A file named on the command line, read and joined, whatever is in it."""

    path: str
    source: bytes


class Show:
    """Where verdicts and progress go; `json` prints one object a line and nothing else."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._live = sys.stderr.isatty() and not json
        self._table = Table(colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ)

    def task(self, info: TaskInfo, target: Target, arch: str | None) -> None:
        if not self._json:
            self._print(self._table.head(info, target, arch))

    def verdict(self, verdict: Verdict) -> None:
        self.progress("")
        if self._json:
            self._print(encode_verdict(verdict).decode())
        else:
            self._print(self._table.row(verdict))

    def end(self, verdicts: Sequence[Verdict]) -> None:
        if not self._json:
            self._print(self._table.foot(verdicts))

    def progress(self, text: str) -> None:
        """One line on a terminal's stderr that the next one replaces."""
        if self._live:
            click.echo(f"\r\x1b[K{plain(text)[: width() - 1]}", err=True, nl=False)

    def _print(self, text: str) -> None:
        if text:
            click.echo(text)


@click.command(
    "verify",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: workbench verify rmsnorm my_rmsnorm.cu --json",
)
@click.argument("task")
@click.argument("candidates", nargs=-1, metavar="CANDIDATE.cu...")
@click.option(
    "--target",
    type=click.Choice(["host", "cuda"]),
    default="host",
    show_default=True,
    help="Where candidates run.",
)
@click.option("--arch", metavar="sm_90a", help="Architecture to compile and audit for (default: sm_90a).")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.01),
    help="Seconds a launch may take (default: 20 on host).",
)
@click.option(
    "--load-timeout",
    "load_s",
    type=click.FloatRange(min=0.1),
    default=LOAD_LIMIT_S,
    show_default=True,
    help="Seconds the task may take to load.",
)
@click.option("--no-timing", is_flag=True, help="Leave the timing gates out.")
@click.option("--json", "as_json", is_flag=True, help="One verdict a line, as JSON.")
def command(
    task: str,
    candidates: tuple[str, ...],
    target: Target,
    arch: str | None,
    timeout_s: float | None,
    load_s: float,
    no_timing: bool,
    as_json: bool,
) -> None:
    """A verdict for each CANDIDATE.cu, in one warm judge.

    Without candidates, TASK is a session, whose accepted kernels are judged again in the present environment.
    TASK is a .py file, a folder, pkg.module:Class, or a shipped task's name. A candidate is a .cu file with a plan
    block, a .cu file beside its .plan.py, or a model's answer in a .md file.

    Exits with 0 when all pass, 1 when some fail, 2 for a wrong command line or an unreadable file, 3 when something
    could not be judged.
    """
    if arch is not None and not (_ARCH.fullmatch(arch) and arch.rstrip("af") in LIMITS):
        raise UsageError(
            f"{arch} is not an architecture known here.", do=f"Known: {', '.join(LIMITS)}, also with an a."
        )
    if candidates:
        located = locate_task(task)
        files = [read_candidate(Path(path)) for path in candidates]
    else:
        located, files = accepted_in(task)
    if target == "cuda":
        raise JudgeError(
            "The cuda target is not available here.", do="Use --target host, which needs no GPU."
        )
    show = Show(json=as_json)
    try:
        verdicts = asyncio.run(
            _verify(
                located,
                files,
                target=target,
                arch=arch,
                timeout_s=timeout_s,
                load_s=load_s,
                timing=not no_timing,
                show=show,
            )
        )
    except BrokenPipeError:
        # `verify ... | head`: whoever read us has enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)
    finally:
        show.progress("")
    sys.exit(exit_code(verdicts))


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """3 where something could not be judged, else 1 where something failed, else 0."""
    outcomes = {verdict.outcome for verdict in verdicts}
    return 3 if "error" in outcomes else 1 if "fail" in outcomes else 0


def accepted_in(session: str) -> tuple[LocatedTask, list[CandidateFile]]:
    """The task of a session and its accepted candidates.

    Raises:
        UsageError: `session` names none, or nothing in it was accepted.
        SessionError: its log cannot be read.
    """
    from workbench.core.session import fold
    from workbench.engine.store import read_log

    try:
        folder = locate_session(session)
    except UsageError:
        locate_task(session)  # a better sentence where it is no task either
        raise UsageError("No candidate is named.", do="Give at least one .cu file after the task.") from None
    state = fold(read_log(folder / EVENT_LOG).events)
    accepted = [view for view in state.candidates.values() if view.mark == "accepted"]
    if state.started is None or not accepted:
        raise UsageError(f"Nothing is accepted in {session}.", do="Accept a candidate on the screen first.")
    files = [read_candidate(folder / "candidates" / f"{view.id}.cu") for view in accepted]
    return locate_task(state.started.task_path), files


def read_candidate(path: Path) -> CandidateFile:
    """The bytes of a candidate: a .cu file, one joined with the .plan.py beside it, or a model's answer (.md).

    Raises:
        UsageError: it is missing, no file, unreadable, or too large to be a candidate.
    """
    source = _read(path)
    if path.suffix == ".md":
        answer = from_answer(source.decode(errors="replace"))
        return CandidateFile(str(path), answer.encode() if answer is not None else source)
    plan = path.with_suffix(".plan.py")
    if path.suffix == ".cu" and _PLAN not in source and plan.is_file():
        try:
            joined = join(source.decode(), _read(plan).decode())
        except UnicodeDecodeError:
            return CandidateFile(str(path), source)
        return CandidateFile(str(path), joined.encode())
    return CandidateFile(str(path), source)


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "not a file"
            raise UsageError(f"{path} is {kind}.", do="Name a .cu file.")
        with path.open("rb") as file:
            source = file.read(MAX_SOURCE_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}.", do="Check the path.") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path} cannot be read: {why}.", do="Check its name and permissions.") from None
    if len(source) > MAX_SOURCE_BYTES:
        raise UsageError(f"{path} is over {MAX_SOURCE_BYTES >> 20} MiB.", do="A candidate is at most 4 MiB.")
    return source


async def _verify(
    task: LocatedTask,
    files: Sequence[CandidateFile],
    *,
    target: Target,
    arch: str | None,
    timeout_s: float | None,
    load_s: float,
    timing: bool,
    show: Show,
) -> list[Verdict]:
    """Judge every file; a judge that dies costs one candidate its verdict, not the others."""

    async def fresh() -> tuple[JudgeClient, TaskInfo]:
        client = JudgeClient(on_progress=show.progress)
        try:
            await client.start()
            info = await client.load_task(
                task.path, target=target, arch=arch, timeout_s=timeout_s, limit_s=load_s
            )
            return client, info
        except BaseException:
            await client.close()
            raise

    client, info = await fresh()
    show.task(info, target, arch)
    verdicts: list[Verdict] = []
    try:
        for number, file in enumerate(files, 1):
            if not client.alive:
                await client.close()
                client, info = await fresh()
            try:
                judged = await client.judge(
                    f"c{number}",
                    file.source,
                    path=file.path,
                    timing=timing,
                    on_tick=_ticker(show, f"{number} of {len(files)}: {Path(file.path).name}"),
                )
            except JudgeError as error:
                verdict = _no_verdict(info, f"c{number}", file.path, target, str(error))
            else:
                assert judged.verdict is not None  # nobody cancels here
                verdict = judged.verdict
            verdicts.append(verdict)
            show.verdict(verdict)
    finally:
        await client.close()
    show.end(verdicts)
    return verdicts


def _ticker(show: Show, what: str) -> Callable[[GateTicked], None]:
    def tick(ticked: GateTicked) -> None:
        if ticked.gate is None:
            show.progress(f"{what}: {ticked.name} ...")

    return tick


def _no_verdict(info: TaskInfo, candidate: str, path: str, target: Target, reason: str) -> Verdict:
    return Verdict(
        task=VerdictTask(info.name, info.fingerprint, 1),
        candidate=VerdictCandidate(candidate, "", path),
        target=target,
        device={},
        versions={"workbench": __version__},
        outcome="error",
        reason=reason,
    )
