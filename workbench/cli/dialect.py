"""`workbench dialect [TASK]`: everything that a writer of candidates needs, a person or a prompt."""

from __future__ import annotations

import re

import click

from workbench.cli import interrupts
from workbench.core.errors import UsageError
from workbench.core.locate import LocatedTask, locate_task
from workbench.core.plan import LIMITS, limits_for
from workbench.core.task import TaskInfo
from workbench.dialect.reference import reference
from workbench.judge.client import JudgeClient
from workbench.profile.device import default_arch


@click.command(
    "dialect",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: workbench dialect rmsnorm > prompt.txt",
)
@click.argument("task", required=False)
@click.option("--arch", metavar="sm_90a", help="Whose limits to print (default: the device's, else sm_90a).")
def command(task: str | None, arch: str | None) -> None:
    """The dialect, TASK's signature, device limits and a skeleton, ready for a prompt or a person.

    TASK is a .py file, a folder, pkg.module:Class, or a shipped task's name; it is loaded by the judge. Without one
    the skeleton is an example's.
    """
    arch = arch or default_arch()
    if not re.fullmatch(r"sm_\d{2,3}[af]?", arch):
        raise UsageError(f"{arch[:40]} is not an architecture.", do=f"Write it as {', '.join(LIMITS)}.")
    info = interrupts.run(_load(locate_task(task))) if task is not None else None
    click.echo(reference(info, limits_for(arch), arch))


async def _load(task: LocatedTask) -> TaskInfo:
    """The task as the judge finds it; nothing of it runs in this process."""
    async with JudgeClient() as judge:
        return await judge.load_task(task.path, target="host")
