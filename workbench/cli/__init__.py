"""The command line: which command runs, and how an error is shown (docs/design.md, section 7).

Commands are imported when they are called, so that opening the screen pays for none of the others.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from workbench import __version__
from workbench.cli.output import complain, standard_output
from workbench.cli.plain import plain
from workbench.core.errors import WorkbenchError

COMMANDS: dict[str, tuple[str, str]] = {
    "open": ("workbench.cli.open", "Open the workbench on a task (the default: `workbench TASK`)."),
    "verify": ("workbench.cli.verify", "A verdict for each candidate, in one warm judge."),
    "standalone": (
        "workbench.cli.standalone",
        "A candidate as a torch-free program, for ncu and the debuggers.",
    ),
    "dialect": ("workbench.cli.dialect", "The dialect, the task's signature, limits and a skeleton."),
    "list": ("workbench.cli.list", "Sessions, or a session's candidates."),
    "doctor": ("workbench.cli.doctor", "What this machine can do, and what each absence costs."),
}


class Commands(click.Group):
    """Finds commands by name without importing them; anything else is a task to open."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with standard_output():  # --help and --version write from here
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        # Here and not around all: click itself would exit with 1 where the reader went away.
        with standard_output():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            args = ["open", *args]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": True},
    epilog="Example: workbench tasks/rmsnorm.py",
)
@click.version_option(__version__, message="workbench %(version)s")
@click.pass_context
def workbench(ctx: click.Context) -> None:
    """Evolve CUDA kernels for a PyTorch task, with verdicts that are true.

    `workbench TASK [CANDIDATE.cu ...]` opens the workbench and resumes the task's last session.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(importlib.import_module(COMMANDS["open"][0]).command)


def main(argv: Sequence[str] | None = None) -> None:
    """The `workbench` command. Exits with the codes of docs/design.md, section 7."""
    try:
        workbench.main(args=list(argv) if argv is not None else None, standalone_mode=False)
    except click.ClickException as error:
        complain(error.show)
        sys.exit(2)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except WorkbenchError as error:
        # It may quote a task's, a candidate's or a file's words, which must not drive the terminal.
        said = f"workbench: {plain(str(error))}"
        complain(lambda: click.echo(said, err=True))
        sys.exit(error.exit_code)
