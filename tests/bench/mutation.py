"""Seeded mutation: classic mistakes in honest kernels, each shown to the real judge. `python tests/bench/mutation.py`.

    python tests/bench/mutation.py --seed 7 --count 300 --report REPORT.md     a sample, judged and reported
    python tests/bench/mutation.py --operator drop_barrier --count 0           every mutant of one operator
    python tests/bench/mutation.py --only 1f2e3d4c5b --show                    one mutant: its text and its verdict

A mutant that does not compile is no mutant. One that passes is either equivalent (it behaves like the original at
every size that the task declares) or a hole in the judge: each that was looked at stands with the reason in
mutants/examined.json, and this script lists those that do not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from mutants.judging import Result, judge_all
from mutants.report import EXAMINED, read_examined, summary, totals, write_report
from mutants.sampling import Mutant, honest_kernels, mutants_of, sample


def chosen(options: argparse.Namespace) -> tuple[list[Mutant], int, int]:
    """The mutants to judge, how many there are in all, and of how many kernels."""
    kernels = [k for k in honest_kernels() if not options.kernel or k.name in options.kernel]
    kernels = [k for k in kernels if k.name not in (options.without or ())]
    everything = [mutant for kernel in kernels for mutant in mutants_of(kernel)]
    if options.only:
        return [m for m in everything if m.id in options.only], len(everything), len(kernels)
    wanted = [m for m in everything if not options.operator or m.operator in options.operator]
    return sample(wanted, options.count or len(wanted), options.seed), len(everything), len(kernels)


def main() -> int:
    """Judge the chosen mutants, print what is new, and write the report where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(31))
    parser.add_argument("--count", type=int, default=300, help="mutants to judge; 0: all")
    parser.add_argument("--judges", type=int, default=2)
    parser.add_argument("--kernel", action="append", help="task/file; may be repeated")
    parser.add_argument("--without", action="append", help="task/file to leave out, as an earlier sample did")
    parser.add_argument("--operator", action="append")
    parser.add_argument("--only", action="append", help="a mutant's id")
    parser.add_argument("--show", action="store_true", help="print verdicts as they come")
    parser.add_argument(
        "--results", type=Path, help="JSON lines; what stands in it already is not judged again"
    )
    parser.add_argument("--report", type=Path, help="Markdown")
    options = parser.parse_args()
    mutants, made, kernels = chosen(options)
    print(f"seed {options.seed}: {len(mutants)} of {made} mutants of {kernels} kernels", flush=True)

    results: dict[str, Result] = {}
    if options.results and options.results.exists():
        for line in options.results.read_bytes().splitlines():
            earlier = msgspec.json.decode(line, type=Result)
            results[earlier.id] = earlier

    def done(result: Result) -> None:
        results[result.id] = result
        if options.results:
            with options.results.open("ab") as file:
                file.write(msgspec.json.encode(result) + b"\n")
        if options.show or result.outcome != "fail":
            print(
                f"{result.id} {result.outcome:5} {result.gate:12} {result.kernel}:{result.line} {result.operator}: "
                f"{result.before}  ->  {result.after}\n    {result.reason}",
                flush=True,
            )

    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as folder:
        Path(folder).chmod(0o755)  # confined processes that gave up root still read their builds here
        os.environ["XDG_CACHE_HOME"] = folder
        missing = [m for m in mutants if m.id not in results]
        asyncio.run(judge_all(missing, judges=options.judges, done=done))
    seconds = time.perf_counter() - started
    of_sample = [results[m.id] for m in mutants if m.id in results]
    for mutant in (m for m in mutants if m.id not in results):
        print(f"{mutant.id}: no verdict (the judge died)")
    examined = read_examined(EXAMINED)
    print(f"\n{summary(of_sample, examined)}\n{seconds:.0f} s with {options.judges} judges")
    if options.report:
        write_report(options.report, of_sample, examined, seed=options.seed, made=made, kernels=kernels,
                     seconds=seconds, judges=options.judges)  # fmt: skip
    return 1 if totals(of_sample, examined).new else 0


if __name__ == "__main__":
    sys.exit(main())
