"""How long from saving a candidate's file to its being judged: with notifications, and where they are blind.

    python tests/bench/save.py [--saves 20]

A real engine with the tests' scripted judge, which is always free; the file is replaced by a rename, as most editors do.
The clock runs from just before the rename to the event that the judging started, as a screen gets it. Goal: one second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "engine"))

from engine_world import World

from workbench.core.events import JudgingStarted
from workbench.core.messages import EventHappened
from workbench.engine.client import EngineClient

ROOT = Path(__file__).resolve().parent.parent.parent

BLIND = "import workbench.engine.watch as watch; watch.is_blind = lambda folder: True\n"
"""Put before the engine as a sitecustomize: no file system here is one on which notifications are blind."""


async def measure(saves: int) -> list[float]:
    """Seconds of each save."""
    folder = Path(tempfile.mkdtemp(prefix="wb-save-"))
    world = World(folder, Path(os.environ["XDG_RUNTIME_DIR"]))
    os.environ.update(XDG_CONFIG_HOME=str(folder / "config"), WORKBENCH_SESSIONS=str(world.sessions))
    mine = world.candidate("mine.cu", "version 0")
    found: list[float] = []
    try:
        client = await world.open()
        await client.submit_file(mine)
        await _judging(client)
        for number in range(1, saves + 1):
            await asyncio.sleep(0.2 + 0.05 * (number % 20))  # anywhere between two looks
            making = folder / "mine.new"
            making.write_text(f"version {number}")
            began = time.perf_counter()
            making.rename(mine)
            await _judging(client)
            found.append(time.perf_counter() - began)
        await client.stop_engine(force=True)
        await client.close()
    finally:
        world.kill_engines()
        shutil.rmtree(folder, ignore_errors=True)
    return found


async def _judging(client: EngineClient) -> None:
    async for message in client.messages():
        if isinstance(message, EventHappened) and isinstance(message.event, JudgingStarted):
            return
    raise SystemExit(f"the engine ended: {client.closed}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--saves", type=int, default=20)
    saves = parser.parse_args().saves
    runtime = tempfile.mkdtemp(prefix="wb-")
    site = tempfile.mkdtemp(prefix="wb-site-")
    Path(site, "sitecustomize.py").write_text(BLIND)
    os.environ["XDG_RUNTIME_DIR"] = runtime
    before = os.environ.get("PYTHONPATH", "")
    try:
        for kind in ("notified", "blind"):
            paths = [site] if kind == "blind" else []
            os.environ["PYTHONPATH"] = os.pathsep.join([*paths, str(ROOT), *filter(None, [before])])
            took = asyncio.run(measure(saves))
            print(
                f"{kind:<9} save -> judging: median {statistics.median(took):.2f} s, longest {max(took):.2f} s "
                f"of {saves}; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    finally:
        shutil.rmtree(runtime, ignore_errors=True)
        shutil.rmtree(site, ignore_errors=True)


if __name__ == "__main__":
    main()
