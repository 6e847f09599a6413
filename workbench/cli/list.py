"""`workbench list`: the sessions on disk, or a session's candidates. Reads the log alone; no engine is started."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from workbench.cli.plain import json_line, plain
from workbench.core.candidate import CandidateView
from workbench.core.lineage import ranked
from workbench.core.locate import locate_session, sessions_folder
from workbench.core.session import fold
from workbench.engine.log import read_log
from workbench.engine.sessions import SessionSummary, summaries


@click.command("list", epilog="Example: workbench list rmsnorm --json")
@click.argument("session", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(session: str | None, as_json: bool) -> None:
    """Sessions with their disk use; or the candidates of SESSION (a path or a unique prefix), best first."""
    if session is None:
        _sessions(sessions_folder().absolute(), as_json)
    else:
        _candidates(locate_session(session), as_json)


def _sessions(root: Path, as_json: bool) -> None:
    found = summaries(root)
    if as_json:
        _lines(found)
    elif not found:
        click.echo(plain(f"There are no sessions in {root}. `workbench TASK` starts one."))
    else:
        width = max(len(one.name) for one in found)
        for one in found:
            line = f"{one.name:<{width}}  {_when(one.used_at)}  {_size(one.bytes):>9}  {one.target}"
            click.echo(plain(line))  # whole: a session that came from elsewhere says what it likes
        click.echo(plain(f"{len(found)} in {root}, {_size(sum(one.bytes for one in found))}"))


def _candidates(folder: Path, as_json: bool) -> None:
    state = fold(read_log(folder / "events.jsonl").events)
    views = ranked(state.candidates.values())
    if as_json:
        _lines(views)
        return
    if not views:
        click.echo(plain(f"{folder.name} has no candidates yet."))
    width = max((len(view.name) for view in views), default=0)
    for view in views:
        # Names, reasons and verdicts hold what a candidate says.
        click.echo(plain(_line(view, min(width, 32))).rstrip())


def _line(view: CandidateView, width: int) -> str:
    verdict = view.verdict.first_line if view.verdict is not None else view.state_reason
    mark = view.mark or ""
    return (
        f"{view.id}  {view.name[:32]:<{width}}  {view.provenance:<8}  {view.state:<15}  {mark:<8}  {verdict}"
    )


def _lines(things: list[SessionSummary] | list[CandidateView]) -> None:
    for thing in things:
        click.echo(json_line(msgspec.json.encode(thing).decode()))


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _size(count: int) -> str:
    """Bytes for people: "1.2 MiB"."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
