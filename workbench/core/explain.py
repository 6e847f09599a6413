"""What a failed gate means, why it matters and how it is usually fixed: three lines for someone new to CUDA.

Pure data by gate and kind of fault; the screen, the command line and reports show the same words.
"""

from __future__ import annotations

import msgspec

from workbench.core.verdict import Gate, Verdict


class Explanation(msgspec.Struct, frozen=True):
    """Three lines for a person."""

    means: str
    matters: str
    fix: str


FAULTS: dict[str, Explanation] = {
    "divergent barrier": Explanation(
        "Some threads of a block wait at __syncthreads() (or a warp shuffle) that others never reach.",
        "On a GPU this hangs, or lets threads read shared memory before it is written.",
        "Move the barrier out of the `if` or the early `return`; let idle threads skip the work, not the barrier.",
    ),
    "hang": Explanation(
        "A launch was still running when its time was up.",
        "On a GPU it would block the device until the driver kills the process.",
        "Check loop bounds and steps that can be zero; a thread that waits for another block may wait for ever.",
    ),
    "crash": Explanation(
        "The process that ran the kernel ended: a stack overflow, or an instruction the processor refused.",
        "What the host cannot run at all would give an arbitrary result on a GPU.",
        "Look for recursion, large local arrays and integer division by zero.",
    ),
}
"""By `fault` in a gate's evidence; these say more than the gate alone."""

GATES: dict[str, Explanation] = {
    "parse": Explanation(
        "The plan (the Python between /*@plan and @*/) cannot be read, or asks for something it may not.",
        "The plan says what is allocated and launched; without it there is nothing to run.",
        "Go to the line named; `workbench dialect TASK` prints the task's signature and a skeleton that passes.",
    ),
    "compile": Explanation(
        "The compiler refuses the code, or the plan's arguments do not fit the kernel's parameters.",
        "A kernel given too few, too many or differently typed arguments would read rubbish.",
        "Go to the line named; compare the launch's `args` with the kernel's parameter list, in order and type.",
    ),
    "audit": Explanation(
        "The compiled code can keep state between launches, read a clock, or call the system, or has no kernel at all.",
        "Such code can tell a test from the real thing, or hand out an old result: its speed would mean nothing.",
        "Remove static and global variables, clocks, printf, malloc and assert; pass what is needed as arguments.",
    ),
    "numerics": Explanation(
        "The result is not what PyTorch computes, at the element named.",
        "A fast wrong answer is worth nothing; the judge compares every element, on several kinds of inputs.",
        "Work the named element out by hand: index arithmetic, a missing term, a wrong axis or a lost last block.",
    ),
    "precision": Explanation(
        "The result is roughly right, but less accurate than its dtype allows.",
        "Errors of this size grow through a network and are easy to miss in a test on friendly inputs.",
        "Accumulate in float, even for half inputs; subtract the mean or maximum before squares or exponentials.",
    ),
    "poison": Explanation(
        "An output was not written everywhere, or memory was read before anything was written to it.",
        "Fresh GPU memory holds whatever was there before, often an older, right result that hides the mistake.",
        "Write every element of every output; use zeros() instead of empty() for what is added to.",
    ),
    "inputs_intact": Explanation(
        "The kernel writes to an input or parameter that the task only reads.",
        "The next layer, and the next call, would work on damaged data.",
        "Write to a tensor from empty_like(...) and mark inputs as const pointers.",
    ),
    "bounds": Explanation(
        "A thread read or wrote outside the buffer it was given.",
        "On a GPU this changes other tensors silently, or ends the program with an illegal access.",
        "Guard with `if (i < n)`: the last block usually has more threads than there are elements left.",
    ),
    "determinism": Explanation(
        "Two runs on the same inputs differ, or threads of a block do not meet at the same barrier.",
        "Threads race: the result depends on which comes first, and will be wrong on some day or device.",
        "Put __syncthreads() between writing and reading shared memory; let one thread own each output.",
    ),
    "shapes": Explanation(
        "It is right at one size and wrong at another one that the task declares, or that was drawn between them.",
        "The task promises other sizes; a kernel for one size only must say so.",
        "Pass sizes as arguments instead of constants, guard the rest, or state the limit with require(...).",
    ),
    "timing": Explanation(
        "The time could not be measured in a way that holds.",
        "A number that cannot be repeated is not a speed.",
        "Close other programs on the device and verify again.",
    ),
    "floor": Explanation(
        "It is faster than the device can move the bytes that the task needs.",
        "Then it does not do the work, or not in every call.",
        "Look for results that are kept from an earlier call, or inputs that are not read.",
    ),
    "recheck": Explanation(
        "A second, independent start disagrees with the first.",
        "A speed or a result that only one process gives cannot be relied on.",
        "Verify again; if it persists, look for unwritten memory and races.",
    ),
}


def explain(gate: Gate) -> Explanation | None:
    """Three lines on a gate that failed; None for a gate that is unknown here."""
    fault = gate.evidence.get("fault")
    if gate.evidence.get("buffer") == "stack":
        fault = "crash"
    if isinstance(fault, str) and fault in FAULTS:
        return FAULTS[fault]
    # At another size the gate is `shapes`, whatever the result there comes from.
    cause = gate.evidence.get("cause")
    return GATES.get(cause if isinstance(cause, str) and cause in GATES else gate.name)


def explain_verdict(verdict: Verdict) -> Explanation | None:
    """Three lines on why a verdict failed; None where it did not fail at a gate."""
    for gate in verdict.gates:
        if gate.name == verdict.failed_gate:
            return explain(gate)
    return None
