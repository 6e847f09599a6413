"""kill -9 of engine, judge, compiler, planner, runner, screen or all of them at random moments, for many rounds.

    python tests/bench/kill9.py --rounds 200
    python tests/bench/kill9.py --rounds 20 --real tasks/rmsnorm.py

After each round the session is opened again: every event that any screen was shown must be there, word for word.
With --real the judge is the real one, with its compiler, planner and runners as victims; else it is the tests' scripted
judge, which is faster, so that more moments are tried. The seed is printed; the same one draws the same rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "engine"))

from engine_world import World
from kill9_rounds import Shown, one_round, settle, victims

ROOT = Path(__file__).resolve().parent.parent.parent


async def run(rounds: int, seed: int, real: Path | None) -> None:
    """Work through `rounds`; raises AssertionError with the event that was lost."""
    with tempfile.TemporaryDirectory(prefix="wb-kill9-") as root:
        runtime = Path(tempfile.mkdtemp(prefix="wb-"))
        world = World(Path(root), runtime)
        os.environ.update(
            XDG_RUNTIME_DIR=str(runtime),
            XDG_CONFIG_HOME=str(world.config.parent.parent),
            WORKBENCH_SESSIONS=str(world.sessions),
            SCRIPTED_CHILDREN="1",
        )
        sources = [b"plain", b"SLOW", b"FAILS"]
        if real is not None:
            world.config.write_text('[judge]\ntarget = "host"\n')
            world.task.write_bytes(real.read_bytes())
            kernels = ROOT / "workbench" / "archive" / "kernels" / real.stem
            sources = [path.read_bytes() for path in sorted(kernels.glob("*.cu"))] or [b"no plan"]
        rng, shown = random.Random(seed), Shown()
        killed: collections.Counter[str] = collections.Counter()
        start = time.monotonic()
        try:
            for n, who in enumerate(victims(rng, rounds), 1):
                limit_s, waiting = (15.0, 4) if real else (1.0, 1000)
                await one_round(world, rng, shown, who, sources=sources, limit_s=limit_s, waiting=waiting)
                killed[who] += 1
                print(f"{n:4} {who:<10} {len(shown.events)} events shown", flush=True)
            state = await settle(world, shown)
        finally:
            world.kill_engines()
            shutil.rmtree(runtime, ignore_errors=True)
        counts = ", ".join(f"{count} {who}" for who, count in killed.most_common())
        print(
            f"{rounds} rounds, {len(shown.events)} events shown, none lost; {len(state.candidates)} candidates; "
            f"killed: {counts}; {time.monotonic() - start:.0f} s"
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(31))
    parser.add_argument("--real", type=Path, metavar="TASK.py", help="use the real judge on this task")
    options = parser.parse_args()
    print("seed", options.seed, flush=True)
    asyncio.run(run(options.rounds, options.seed, options.real))


if __name__ == "__main__":
    main()
