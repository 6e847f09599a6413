"""`verify --debug`: what one run of each candidate printed and where its elements differ; no verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from workbench.cli.candidates import CandidateFile
from workbench.core.errors import JudgeError
from workbench.core.locate import LocatedTask
from workbench.core.messages import Debugged, Printed
from workbench.core.task import TaskInfo
from workbench.core.verdict import Target
from workbench.judge.client import JudgeClient

LINES = 200
"""Of a candidate's output, shown."""
_MESSAGES = 20


async def debug(
    task: LocatedTask,
    files: Sequence[CandidateFile],
    *,
    target: Target,
    arch: str | None,
    timeout_s: float | None,
    load_s: float,
) -> int:
    """Run every file once and print what it showed. Returns 0 where all ran to their end, 1 where one did not, 3 where
    the judge died."""
    code = 0
    for number, file in enumerate(files, 1):
        # A judge each: what one leaves behind is not what the next is looked at for.
        async with JudgeClient() as client:
            info = await client.load_task(
                task.path, target=target, arch=arch, timeout_s=timeout_s, limit_s=load_s
            )
            try:
                found = await client.debug(f"c{number}", file.source, path=file.path)
            except JudgeError as error:
                click.echo(f"{_name(file)}: {visible(str(error))}")
                code = 3
                continue
        click.echo(described(found, file, info))
        code = max(code, 0 if found.ran else 1)
    return code


def described(found: Debugged, file: CandidateFile, info: TaskInfo) -> str:
    """The text of one candidate, without control characters of its own."""
    name = _name(file)
    size = next((s for s in info.sizes if s.name == found.size), info.sizes[0])
    values = ", ".join(f"{k}={v}" for k, v in size.values.items())
    lines = [f"{name}: debug run at {visible(size.name)}{f' ({values})' if values else ''}, no verdict"]
    for d in found.diagnostics[:_MESSAGES]:
        place = ":".join([name, *(str(n) for n in (d.line, d.column) if n)])
        message = visible(d.message.strip().splitlines()[0] if d.message.strip() else "")
        lines.append(f"  {place}: {d.severity}: {message}")
    lines += _printed(found)
    if not found.ran:
        return "\n".join([*lines, f"  stopped: {visible(found.stopped)}"])
    if found.wrong:
        lines.append(f"  {found.wrong} of {found.elements} elements differ (inputs drawn from {found.seed}):")
        for e in found.differing:
            place = f"{visible(e.output)}[{', '.join(map(str, e.index))}]" if e.index else visible(e.output)
            lines.append(f"    {place:<16} expected {visible(e.expected):<14} got {visible(e.got)}")
        if found.wrong > len(found.differing):
            lines.append(f"    and {found.wrong - len(found.differing)} more")
    else:
        lines.append(f"  no element differs, of {found.elements} (inputs drawn from {found.seed})")
    return "\n".join([*lines, *(f"  note: {visible(note)}" for note in found.notes)])


def visible(text: str) -> str:
    """`text` with every character that is not printable written out (`\\x1b`), so that it cannot drive a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _printed(found: Debugged) -> list[str]:
    if not found.printed:
        return ["  nothing was printed"]
    lines = ["  printed:"]
    lines += [f"    {_where(p)}{visible(p.text)}" for p in found.printed[:LINES]]
    more = len(found.printed) - LINES
    if more > 0:
        lines.append(f"    and {more} more lines")
    if found.dropped_bytes:
        lines.append(f"    and {found.dropped_bytes} bytes more, which were not kept")
    return lines


def _where(printed: Printed) -> str:
    if printed.block is None or printed.thread is None:
        return ""
    block, thread = (", ".join(map(str, t)) for t in (printed.block, printed.thread))
    return f"{visible(printed.kernel)} block ({block}) thread ({thread}) line {printed.line}: "


def _name(file: CandidateFile) -> str:
    return visible(Path(file.path).name)
