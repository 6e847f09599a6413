"""`workbench standalone TASK CANDIDATE -o DIR`: a candidate as a program of its own (docs/design.md, section 7)."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from workbench.cli import interrupts
from workbench.cli.architectures import check_arch
from workbench.cli.candidates import CandidateFile, read_candidate
from workbench.cli.plain import plain
from workbench.core.locate import LocatedTask, locate_task
from workbench.core.messages import StandaloneWritten
from workbench.judge.client import LOAD_LIMIT_S, JudgeClient
from workbench.profile.standalone import replacing

_MESSAGES = 20
_EXIT_CODES = {"candidate": 1, "request": 2, "judge": 3}


@click.command(
    "standalone",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: workbench standalone rmsnorm my_rmsnorm.cu -o my_rmsnorm && make -C my_rmsnorm",
)
@click.argument("task")
@click.argument("candidate", metavar="CANDIDATE.cu", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The program's folder: a new or empty one, or one made by this command before.",
)
@click.option(
    "--arch", metavar="sm_90a", help="Architecture to compile for (default: the device's, else sm_90a)."
)
@click.option("--size", default="", metavar="NAME", help="A size of the task (default: the judged one).")
@click.option(
    "--case", default="random", show_default=True, help="Which inputs: a plain draw, or a hard case by name."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), help="Draws the inputs, for example a verdict's own."
)
@click.option("--force", is_flag=True, help="Also replace files in a folder that is not such a program.")
@click.option(
    "--load-timeout",
    "load_s",
    type=click.FloatRange(min=0.1),
    default=LOAD_LIMIT_S,
    show_default=True,
    help="Seconds the task may take to load.",
)
def command(
    task: str,
    candidate: Path,
    folder: Path,
    arch: str | None,
    size: str,
    case: str,
    seed: int | None,
    force: bool,
    load_s: float,
) -> None:
    """Write CANDIDATE as a program of its own: no torch, no Python, no CUDA toolkit.

    DIR gets the compiled kernels, the inputs of one size, a C++ program that runs the plan's steps with the driver
    alone, a Makefile, and a README with the command lines for ncu, compute-sanitizer and cuda-gdb. Nothing is judged,
    and no GPU is needed to write it.

    Exits with 0 when it is written, 1 when the candidate has no such program (it does not compile, or uses library
    steps), 2 for a wrong command line, size, folder or file, 3 when the task or the judge is broken.
    """
    check_arch(arch)
    located, file = locate_task(task), read_candidate(candidate)
    try:
        with replacing(folder, force=force) as new:
            written = interrupts.run(
                _written(located, file, new, arch=arch, size=size, case=case, seed=seed, load_s=load_s)
            )
            if not written.written:
                raise _Refused(written)
    except _Refused as refused:
        _tell(refused.answer, candidate)
        sys.exit(_EXIT_CODES[refused.answer.whose])
    megabytes = written.nbytes / 1e6
    click.echo(
        plain(
            f"{folder}: {candidate.name} at {written.size} for {written.arch}, {_count(written.steps, 'step')}, "
            f"{_count(len(written.kernels), 'kernel')}, inputs drawn from {written.seed}, {megabytes:.1f} MB."
        )
    )
    click.echo(f"Build it with make; {plain(str(folder / 'README.txt'))} has the tools' command lines.")


class _Refused(Exception):
    """Leaves the block in which the folder is made."""

    def __init__(self, answer: StandaloneWritten) -> None:
        super().__init__(answer.stopped)
        self.answer = answer


async def _written(
    task: LocatedTask,
    file: CandidateFile,
    folder: Path,
    *,
    arch: str | None,
    size: str,
    case: str,
    seed: int | None,
    load_s: float,
) -> StandaloneWritten:
    """Have the judge's worker write the files: it alone executes the task and draws inputs."""
    async with JudgeClient() as judge:
        # The host target loads a task anywhere: inputs are drawn on the CPU, and nothing is run.
        await judge.load_task(task.path, target="host", arch=arch, limit_s=load_s)
        return await judge.write_standalone(
            "c1", file.source, str(folder), path=file.path, size=size, case=case, seed=seed
        )


def _tell(answer: StandaloneWritten, candidate: Path) -> None:
    click.echo(f"workbench: {plain(candidate.name)}: {plain(answer.stopped)}", err=True)
    for diagnostic in answer.diagnostics[1:_MESSAGES]:
        said = diagnostic.message.strip().splitlines()
        place = ":".join([candidate.name, *(str(n) for n in (diagnostic.line, diagnostic.column) if n)])
        click.echo(plain(f"  {place}: {diagnostic.severity}: {said[0] if said else ''}"), err=True)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
