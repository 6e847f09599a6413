"""`workbench verify TASK CANDIDATE.cu...`: a verdict for each, in one warm judge (docs/design.md, section 7)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec

from workbench import __version__
from workbench.cli import interrupts
from workbench.cli.architectures import check_arch
from workbench.cli.candidates import CandidateFile, accepted_in, read_candidate
from workbench.cli.debug import debug
from workbench.cli.junit import ENDED, JUnitFile, Reached
from workbench.cli.plain import json_line, plain
from workbench.cli.reproduce import compare, recorded
from workbench.cli.requirements import MISSED, Answered, Requirement, answer, missed, understand
from workbench.cli.verify_table import Table, width
from workbench.core.errors import JudgeError, TaskError, UsageError, WorkbenchError
from workbench.core.locate import LocatedTask, locate_task
from workbench.core.messages import GateTicked
from workbench.core.task import TaskInfo
from workbench.core.verdict import Target, Verdict, VerdictCandidate, VerdictTask, encode_verdict
from workbench.judge.client import LOAD_LIMIT_S, JudgeClient


class Show:
    """Where verdicts and progress go; `json` prints one object a line and nothing else."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._live = sys.stderr.isatty() and not json
        self._table = Table(colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ)

    def task(self, info: TaskInfo, target: Target, arch: str | None) -> None:
        if not self._json:
            self._print(self._table.head(info, target, arch))

    def verdict(self, verdict: Verdict, answers: Sequence[Answered] = ()) -> None:
        """One verdict; in JSON, `requirements` stands beside the fields of schema 1 where some were asked for."""
        self.progress("")
        if not self._json:
            self._print(self._table.row(verdict, missed(answers)))
        elif answers:
            asked = {"requirements": msgspec.to_builtins(answers)}
            whole = {**json.loads(encode_verdict(verdict)), **asked}
            self._print(json_line(json.dumps(whole, ensure_ascii=False)))
        else:
            self._print(json_line(encode_verdict(verdict).decode()))

    def end(self, verdicts: Sequence[Verdict], missing: int = 0) -> None:
        if not self._json:
            self._print(self._table.foot(verdicts, missing))

    def compared(self, lines: Sequence[str]) -> None:
        """How a reproduction compares; beside JSON it goes to stderr."""
        for line in lines:
            click.echo(plain(line), err=self._json)

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
@click.argument("task", required=False)
@click.argument("candidates", nargs=-1, metavar="CANDIDATE.cu...")
@click.option(
    "--target",
    type=click.Choice(["host", "cuda"]),
    default="host",
    show_default=True,
    help="Where candidates run.",
)
@click.option(
    "--arch",
    metavar="sm_90a",
    help="Architecture to compile and audit for (default: the device's, else sm_90a).",
)
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
@click.option(
    "--require",
    "required",
    multiple=True,
    metavar="WHAT",
    help="What a right candidate must also be, for example faster:compile, own-kernels, memory:64MiB; repeatable.",
)
@click.option(
    "--junit",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the verdicts as JUnit XML too.",
)
@click.option(
    "--reproduce",
    "verdict_file",
    type=click.Path(path_type=Path),
    metavar="VERDICT.json",
    help="Judge again with a verdict's own draws, and compare.",
)
@click.option(
    "--debug",
    "debugging",
    is_flag=True,
    help="One run with printf and assert allowed, and the elements that differ; no verdict.",
)
def command(
    task: str | None,
    candidates: tuple[str, ...],
    target: Target,
    arch: str | None,
    timeout_s: float | None,
    load_s: float,
    no_timing: bool,
    as_json: bool,
    required: tuple[str, ...],
    junit: Path | None,
    verdict_file: Path | None,
    debugging: bool,
) -> None:
    """A verdict for each CANDIDATE.cu, in one warm judge.

    Without candidates, TASK is a session, whose accepted kernels are judged again in the present environment.
    TASK is a .py file, a folder, pkg.module:Class, or a shipped task's name. A candidate is a .cu file with a plan
    block, a .cu file beside its .plan.py, or a model's answer in a .md file.

    Exits with 0 when all pass, 1 when some fail, 2 for a wrong command line or an unreadable file, 3 when something
    could not be judged, 4 when all are right and a requirement is missed.

    --reproduce takes the file that --json printed, or a session's verdicts/ID.json (then neither TASK nor CANDIDATE
    need be named). It exits with 0 when outcome and failed gate are the same, 1 when they are not, 2 when the candidate
    is another one, 3 when the task or the versions are others and the verdict with them.

    --debug exits with 0 when every candidate ran to its end, whatever it computed.
    """
    _refuse_mixtures(debugging, verdict_file is not None, as_json, junit is not None, bool(required))
    requirements = [understand(text) for text in required]
    check_arch(arch)
    again = recorded(verdict_file, task, candidates) if verdict_file is not None else None
    if again is not None:
        located, files, target = again.task, [again.file], again.verdict.target
        arch, timeout_s = arch or again.arch, timeout_s or again.launch_limit_s
    elif task is None:
        raise UsageError("No task is named.", do="Give a task, then its candidates; see --help.")
    elif candidates:
        located = locate_task(task)
        files = [read_candidate(Path(path)) for path in candidates]
    else:
        located, files = accepted_in(task)
    if target == "cuda":
        raise JudgeError(
            "The cuda target is not available here.", do="Use --target host, which needs no GPU."
        )
    report = JUnitFile(junit, located.name, [file.path for file in files]) if junit is not None else None
    show = Show(json=as_json)
    reached, ended = Reached(), ENDED
    try:
        if debugging:
            sys.exit(
                interrupts.run(
                    debug(located, files, target=target, arch=arch, timeout_s=timeout_s, load_s=load_s)
                )
            )
        interrupts.run(
            _verify(
                located,
                files,
                reached,
                target=target,
                arch=arch,
                timeout_s=timeout_s,
                load_s=load_s,
                timing=not no_timing,
                show=show,
                requirements=requirements,
                seeds=again.seeds if again is not None else (),
                accept=again.same_task if again is not None else None,
            )
        )
        if again is not None:
            found = compare(again.verdict, reached.verdicts[0])
            show.compared(
                ["", found.headline, *(f"  same     {text}" for text in found.same)]
                + [f"  differs  {text}" for text in found.differs]
            )
            sys.exit(found.exit_code)
    except WorkbenchError as error:
        ended = str(error)
        raise
    finally:
        # Whatever ends it: the reader of standard output goes away, the disk is full, Ctrl-C.
        if report is not None:
            report.write(reached, ended)
        show.progress("")
    sys.exit(exit_code(reached.verdicts, any(missed(said) for said in reached.answers.values())))


def exit_code(verdicts: Sequence[Verdict], missing: bool = False) -> int:
    """3 where something could not be judged, else 1 where something failed, else 4 where a requirement is missed."""
    outcomes = {verdict.outcome for verdict in verdicts}
    return 3 if "error" in outcomes else 1 if "fail" in outcomes else MISSED if missing else 0


def _refuse_mixtures(debugging: bool, again: bool, as_json: bool, junit: bool, required: bool) -> None:
    """Raises UsageError where two options ask for different things."""
    for chosen, name in ((debugging, "--debug"), (again, "--reproduce")):
        others = {
            "--debug": debugging,
            "--reproduce": again,
            "--json": as_json and debugging,
            "--junit": junit,
            "--require": required,
        }
        clash = next((other for other, given in others.items() if given and other != name), None)
        if chosen and clash is not None:
            why = "makes no verdict" if name == "--debug" else "only compares a verdict"
            raise UsageError(f"{name} {why}, so {clash} has no meaning beside it.", do=f"Leave {clash} out.")


async def _verify(
    task: LocatedTask,
    files: Sequence[CandidateFile],
    reached: Reached,
    *,
    target: Target,
    arch: str | None,
    timeout_s: float | None,
    load_s: float,
    timing: bool,
    show: Show,
    requirements: Sequence[Requirement] = (),
    seeds: Sequence[int] = (),
    accept: Callable[[TaskInfo], None] | None = None,
) -> None:
    """Judge every file; a judge that dies costs one candidate its verdict, not the others.

    Where it cannot be started again, or the task not be loaded again, the rest are errors, and what was reached is kept.

    Args:
        reached: gets each verdict, and what one that passes says to the requirements, before it is shown.
        seeds: an earlier verdict's, for the same draws.
        accept: raises where the task, as loaded, is not to be judged against.
    """

    async def fresh() -> tuple[JudgeClient, TaskInfo]:
        client = JudgeClient(on_progress=show.progress)
        try:
            await client.start()
            info = await client.load_task(
                task.path, target=target, arch=arch, timeout_s=timeout_s, limit_s=load_s
            )
            if accept is not None:
                accept(info)
            return client, info
        except BaseException:
            await client.close()
            raise

    client, info = await fresh()
    show.task(info, target, arch)
    verdicts, answers = reached.verdicts, reached.answers
    broken = ""
    try:
        for number, file in enumerate(files, 1):
            if not client.alive and not broken:
                await client.close()
                try:
                    client, info = await fresh()
                except (JudgeError, TaskError) as error:
                    broken = str(error)
            path = file.path.encode(errors="backslashreplace").decode()
            try:
                if broken:
                    raise JudgeError(broken)
                judged = await client.judge(
                    f"c{number}",
                    file.source,
                    path=file.path,
                    timing=timing,
                    seeds=seeds,
                    on_tick=_ticker(show, f"{number} of {len(files)}: {Path(file.path).name}"),
                )
            except JudgeError as error:
                verdict = _no_verdict(info, f"c{number}", path, target, str(error))
            else:
                assert judged.verdict is not None  # nobody cancels here
                verdict = judged.verdict
            if verdict.outcome == "pass" and requirements:
                answers[len(verdicts)] = [answer(r, verdict) for r in requirements]
            verdicts.append(verdict)
            show.verdict(verdict, answers.get(len(verdicts) - 1, ()))
    finally:
        await client.close()
    show.end(verdicts, sum(bool(missed(said)) for said in answers.values()))


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
