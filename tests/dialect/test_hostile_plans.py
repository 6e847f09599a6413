"""Plans that attack the process they run in, the channel of their answer, and whoever reads it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dialect_plans import SIZE, Evaluate, error_of, forward, plan_of, size_of, source_of

from workbench.core.errors import JudgeError
from workbench.core.plan import (
    CompileOptions,
    Fill,
    Knob,
    Launch,
    LaunchLimits,
    LibraryStep,
    NotCovered,
    Plan,
    PlanFailure,
    PlanTensor,
    PointersArg,
    ScalarArg,
    TensorArg,
)
from workbench.core.tensors import contiguous
from workbench.dialect import recheck
from workbench.dialect.evaluate import Evaluated, Outcome
from workbench.dialect.planner import Planner

# Every module of the process, reached as the classic escapes reach it.
REACH = """\
def modules():
    for c in ().__class__.__base__.__subclasses__():
        g = getattr(getattr(c, '__init__', None), '__globals__', None)
        if g and 'sys' in g and hasattr(g['sys'], 'modules'):
            return g['sys'].modules
M = modules()
os, ctypes, builtins = M['os'], M['ctypes'], M['builtins']
"""


def attack(*body: str) -> str:
    return REACH + forward(*body)


GOOD = forward("return x")

REFUSED = [
    ("read a file", "os.open('/etc/passwd', 0)"),
    ("read by open", "builtins.open('/etc/passwd')"),
    ("read the source", "builtins.open(M['workbench.dialect.evaluate'].__file__)"),
    ("read its own memory map", "builtins.open('/proc/self/maps')"),
    ("read the parent's environment", "builtins.open(f'/proc/{os.getppid()}/environ')"),
    ("write a file", "os.open('/tmp/escaped', os.O_CREAT | os.O_WRONLY)"),
    ("list a folder", "os.listdir('/')"),
    ("open a socket", "M['_socket'].socket()"),
    ("fork", "os.fork()"),
    ("exec", "os.execv('/bin/sh', ['sh'])"),
    ("spawn", "os.posix_spawn('/bin/sh', ['sh'], {})"),
    ("kill the parent", "os.kill(os.getppid(), 9)"),
    ("kill everything", "os.kill(-1, 9)"),
    ("stop the parent", "os.kill(os.getppid(), 19)"),
]


@pytest.mark.parametrize("statement", [s for _, s in REFUSED], ids=[n for n, _ in REFUSED])
def test_reaching_the_modules_of_the_process_gains_nothing(
    evaluate: Evaluate, planner: Planner, statement: str
) -> None:
    answer = evaluate(attack(statement, "return x"))
    assert "what its sandbox refuses" in error_of(answer, 10)
    assert not Path("/tmp/escaped").exists()
    assert plan_of(evaluate(GOOD))


def test_system_calls_by_ctypes_are_refused_too(evaluate: Evaluate) -> None:
    answer = evaluate(
        attack(
            "libc = ctypes.CDLL(None, use_errno=True)",
            "got = libc.syscall(2, b'/etc/passwd', 0), libc.open(b'/etc/passwd', 0), libc.socket(2, 1, 0), libc.fork()",
            "raise ValueError(got)",
        )
    )
    assert "ValueError: (-1, -1, -1, -1)" in error_of(answer) or "what its sandbox refuses" in error_of(
        answer
    )


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (["while True: pass"], "timeout"),
        (["M['time'].sleep(100)", "return x"], "timeout"),
        (["(10 ** 10 ** 9)"], "timeout"),
        (["'a' * (1 << 40)"], "memory"),
        (["a = []", "while True: a.append(bytes(1 << 20))"], "memory"),
        (["a = []", "while True: a += a or [0]"], "memory"),
        (["os._exit(0)"], "died"),
        (["os._exit(7)"], "died"),
        (["os.abort()"], "died"),
        (["os.kill(os.getpid(), 9)"], "died"),
        (["ctypes.string_at(0)"], "died"),
        (["M['sys'].setrecursionlimit(1 << 30)", "def f(): return [f()]", "f()"], "timeout"),
        (["os.close(3); os.close(4); os.close(5); os.close(6)", "return x"], "died"),
    ],
)
def test_a_plan_that_ends_or_eats_its_process_fails_alone(
    evaluate: Evaluate, body: list[str], cause: str
) -> None:
    answer = evaluate(attack(*body))
    assert isinstance(answer, PlanFailure)
    assert answer.cause == cause or (
        cause in ("died", "timeout") and answer.cause in ("memory", "plan", "died")
    )
    assert answer.diagnostics[0].message
    assert plan_of(evaluate(GOOD))


def test_a_plan_that_outlives_its_answer_is_ended(evaluate: Evaluate) -> None:
    answer = evaluate(
        attack(
            "thread = M['_thread'].start_new_thread",
            "def hold():",
            "    while True: pass",
            "thread(hold, ()); thread(hold, ())",
            "return x",
        )
    )
    assert plan_of(answer)
    assert plan_of(evaluate(GOOD))


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 5000 + ")" * 5000,
        "x = " + "-" * 60000 + "1",
        "x = " + "[" * 90 + "]" * 90 + "\n" + "x = " + "not " * 20000 + "1",
        "x = " + "+".join(["1"] * 30000),
        "x = " + ".a" * 30000,
        "x = " + "f(" * 150 + ")" * 150,
        "\n".join(" " * i + "if 1:" for i in range(99)) + "\n" + " " * 99 + "pass",
        "x = '" + "a" * 100000 + "'",
        "x = f'" + "{" * 1000 + "'",
        "x = lambda: " * 3000 + "1",
    ],
    ids=["parentheses", "minus", "not", "plus", "dots", "calls", "blocks", "text", "f-string", "lambda"],
)
def test_text_that_drives_the_parser_to_its_limits_fails_alone(evaluate: Evaluate, text: str) -> None:
    answer = evaluate(text + "\n" + GOOD)
    assert isinstance(answer, Plan | PlanFailure)
    assert plan_of(evaluate(GOOD))


def test_one_plan_cannot_poison_the_next(evaluate: Evaluate) -> None:
    poison = attack(
        "B = M['workbench.dialect.builder']",
        "B.PlanBuilder.launch = lambda *a, **k: None",
        "M['workbench.dialect.evaluate'].evaluate = None",
        "builtins.len = builtins.print = None",
        "M['msgspec'].msgpack = None",
        "return x",
    )
    assert isinstance(evaluate(poison), Plan | PlanFailure)
    assert plan_of(evaluate(forward("launch('k', 1, 32, [x, len(x.shape)])", "return x"))).steps


# --- the channel --------------------------------------------------------------------------------------------------


def writes(answer: bytes, *, then: str = "os._exit(0)") -> str:
    """A plan that writes these bytes where its answer goes: to every descriptor that takes them."""
    return attack(
        "for fd in range(3, 16):",
        "    try:",
        f"        view = {answer!r}",
        "        while view: view = view[os.write(fd, view):]",
        "    except Exception: pass",
        then,
    )


def encoded(plan: Plan) -> bytes:
    return msgspec.msgpack.encode(Evaluated((Outcome(plan, None),)))


X = PlanTensor(origin="signature", spec=contiguous((64, 512), "float32"), path="input:x", role="input")
Y = PlanTensor(origin="empty", spec=contiguous((64, 512), "float32"), role="output", line=3)
LAUNCH = Launch(kernel="k", grid=(1, 1, 1), block=(32, 1, 1), args=(TensorArg(0), TensorArg(1)), line=4)
HONEST = Plan(size="small", options=CompileOptions(), tensors=(X, Y), steps=(LAUNCH,), outputs=(1,), line=2)


def test_an_answer_written_by_hand_is_just_another_way_to_write_a_plan(evaluate: Evaluate) -> None:
    assert evaluate(writes(encoded(HONEST))) == HONEST


def changed(**fields: Any) -> Plan:
    return msgspec.structs.replace(HONEST, **fields)


def launch(**fields: Any) -> Plan:
    return changed(steps=(msgspec.structs.replace(LAUNCH, **fields),))


def tensor(which: PlanTensor, **fields: Any) -> Plan:
    forged = msgspec.structs.replace(which, **fields)
    return changed(tensors=(forged, Y) if which is X else (X, forged))


SCRATCH = PlanTensor(origin="op", spec=contiguous((64, 512), "float32"), role="scratch", line=5)
RELU = LibraryStep(op="aten.relu", args=(TensorArg(0),), outputs=(2,), line=5)

FORGERIES: dict[str, Plan] = {
    "another size's name": changed(size="full"),
    "an output that is no tensor": changed(outputs=(7,)),
    "a negative output": changed(outputs=(-1,)),
    "an argument that is no tensor": launch(args=(TensorArg(2),)),
    "a negative argument": launch(args=(TensorArg(-1),)),
    "pointers to no tensor": launch(args=(PointersArg((0, 9)),)),
    "no pointers": launch(args=(PointersArg(()),)),
    "too many threads": launch(block=(1024, 2, 1)),
    "a negative block": launch(block=(-1, -1, 1)),
    "an empty grid": launch(grid=(0, 1, 1)),
    "a grid over the limit": launch(grid=(1, 1 << 20, 1)),
    "too much shared memory": launch(shared_bytes=1 << 30),
    "negative shared memory": launch(shared_bytes=-1),
    "a cluster over the limit": launch(grid=(32, 1, 1), cluster=(32, 1, 1)),
    "a kernel's name with code in it": launch(kernel="k(); }\n#include </etc/passwd>"),
    "an int that is a float": launch(args=(ScalarArg("int", 1.5),)),
    "a bool that is an int": launch(args=(ScalarArg("bool", 1),)),
    "a float that is an int": launch(args=(ScalarArg("f32", 1),)),
    "an int over its width": launch(args=(ScalarArg("i32", 1 << 40),)),
    "a line far outside": launch(line=1 << 40),
    "a negative line": changed(line=-3),
    "an input of another shape": tensor(X, spec=contiguous((64, 1 << 20), "float32")),
    "an input that is no input": tensor(X, path="input:secret"),
    "a scalar as a tensor": tensor(X, path="attribute:groups"),
    "an input called scratch": tensor(X, role="scratch"),
    "an output called scratch": tensor(Y, role="scratch"),
    "strides of its own": tensor(Y, spec=msgspec.structs.replace(Y.spec, strides=(1, 1))),
    "a dtype of its own": tensor(Y, spec=msgspec.structs.replace(Y.spec, dtype="float31")),
    "a negative shape": tensor(Y, spec=contiguous((-64, -512), "float32")),
    "memory without end": tensor(Y, spec=contiguous((1 << 40, 1 << 40), "float32")),
    "an empty tensor with a base": tensor(Y, base=0),
    "a view of nothing": tensor(Y, origin="view"),
    "a view of itself": tensor(Y, origin="view", base=1),
    "a view larger than its base": tensor(Y, origin="view", base=0, spec=contiguous((65, 512), "float32")),
    "a view under another dtype": tensor(
        Y, origin="view", base=0, role="input", spec=contiguous((64, 512), "int32")
    ),
    "zeros without a fill": tensor(Y, origin="zeros"),
    "a fill of an empty tensor": changed(steps=(Fill(1, 3), LAUNCH)),
    "a fill of an input": changed(steps=(Fill(0, 3), LAUNCH)),
    "a result of no step": tensor(Y, origin="op"),
    "a step off the allowlist": changed(
        tensors=(X, Y, SCRATCH), steps=(LAUNCH, msgspec.structs.replace(RELU, op="aten.load"))
    ),
    "a step by another name": changed(
        tensors=(X, Y, SCRATCH), steps=(LAUNCH, msgspec.structs.replace(RELU, op="relu"))
    ),
    "a result of another shape": changed(
        tensors=(X, Y, msgspec.structs.replace(SCRATCH, spec=contiguous((1,), "float32"))),
        steps=(LAUNCH, RELU),
    ),
    "a result twice": changed(tensors=(X, Y, SCRATCH), steps=(LAUNCH, RELU, RELU)),
    "a result used before it is there": changed(
        tensors=(X, Y, SCRATCH), steps=(msgspec.structs.replace(LAUNCH, args=(TensorArg(2),)), RELU)
    ),
    "the same input twice": changed(tensors=(X, Y, X)),
    "a define with a line break": changed(options=CompileOptions((("A", "1\n#include <x>"),))),
    "a define with a bad name": changed(options=CompileOptions((("A B", "1"),))),
    "defines out of order": changed(options=CompileOptions((("B", "1"), ("A", "1")))),
    "a define twice": changed(options=CompileOptions((("A", "1"), ("A", "1")))),
    "registers over the limit": changed(options=CompileOptions(max_registers=9999)),
    "a knob that was not asked for": changed(values={"A": 1}),
    "a knob with a value off its choices": changed(knobs=(Knob("A", 1, (1, 2)),), values={"A": 3}),
    "a knob without its value": changed(knobs=(Knob("A", 1, (1, 2)),)),
    "a knob whose name is code": changed(knobs=(Knob("A\x1b[2J", 1, (1,)),), values={"A\x1b[2J": 1}),
    "a knob with control characters": changed(
        knobs=(Knob("A", "\x1b[2J", ("\x1b[2J",)),), values={"A": "\x1b[2J"}
    ),
    "a saved tensor that is none": changed(saved=(("a", 9),)),
}


@pytest.mark.parametrize("forged", FORGERIES.values(), ids=FORGERIES)
def test_no_forged_plan_is_taken(forged: Plan) -> None:
    with pytest.raises(recheck.ForgeryError):
        recheck.rebuild(forged, SIZE, LaunchLimits(), {}, False)


def test_a_forged_plan_fails_as_tampering(evaluate: Evaluate) -> None:
    answer = evaluate(writes(encoded(FORGERIES["an output that is no tensor"])))
    assert "tampered with its own evaluation" in error_of(answer)
    assert plan_of(evaluate(GOOD))


def test_a_forged_plan_cannot_ignore_the_knobs_or_use_a_forbidden_library(evaluate: Evaluate) -> None:
    forged = changed(knobs=(Knob("A", 1, (1, 2)),), values={"A": 1})
    assert isinstance(evaluate(writes(encoded(forged)), knobs={"A": 2}), PlanFailure)
    assert isinstance(evaluate(writes(encoded(HONEST)), knobs={"A": 2}), PlanFailure)
    forged = changed(tensors=(X, Y, SCRATCH), steps=(LAUNCH, RELU))
    assert plan_of(evaluate(writes(encoded(forged))))
    assert isinstance(evaluate(writes(encoded(forged)), own_kernels_only=True), PlanFailure)


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00",
        b"garbage",
        b"\x81\xa8outcomes\xdd\xff\xff\xff\xff",
        b"\x91" * 20_000,
        b"\xc1",
        msgspec.msgpack.encode(Evaluated()),
        msgspec.msgpack.encode(Evaluated((Outcome(None, None),))),
        msgspec.msgpack.encode(Evaluated((Outcome(HONEST, NotCovered("small", "both")),))),
        msgspec.msgpack.encode(Evaluated((Outcome(HONEST, None), Outcome(HONEST, None)))),
        msgspec.msgpack.encode({"outcomes": [{"plan": 3, "not_covered": None}]}),
        msgspec.msgpack.encode(Evaluated()) * 2,
    ],
    ids=lambda answer: answer[:12].hex(),
)
def test_bytes_that_are_no_answer_fail_as_tampering(evaluate: Evaluate, answer: bytes) -> None:
    assert "tampered with its own evaluation" in error_of(evaluate(writes(answer)))
    assert plan_of(evaluate(GOOD))


def test_an_answer_without_end_is_cut(evaluate: Evaluate) -> None:
    endless = attack(
        "junk = b'x' * (1 << 16)",
        "for fd in range(15, 2, -1):",
        "    try:",
        "        while True: os.write(fd, junk)",
        "    except Exception: pass",
    )
    assert "over 8 MiB" in error_of(evaluate(endless))
    assert plan_of(evaluate(GOOD))


def test_a_forged_failure_keeps_only_what_a_plan_can_say_of_itself(evaluate: Evaluate) -> None:
    text = "'\\x1b[2J\\x9b2J\\u202e\\x07evil' + 'y' * 10_000"
    forged = f"[{{'message': {text}, 'line': -5, 'column': 1 << 50, 'severity': 'note'}}] * 100"
    answer = evaluate(
        attack(
            f"failure = {{'diagnostics': {forged}, 'cause': 'timeout'}}",
            "view = M['msgspec'].msgpack.encode({'outcomes': (), 'failure': failure})",
            "for fd in range(15, 2, -1):",
            "    try:",
            "        while view: view = view[os.write(fd, view):]",
            "    except Exception: pass",
            "os._exit(0)",
        )
    )
    assert isinstance(answer, PlanFailure)
    assert answer.cause == "plan"
    assert len(answer.diagnostics) == recheck.MAX_DIAGNOSTICS
    for diagnostic in answer.diagnostics:
        assert not set(diagnostic.message) & set("\x1b\x9b\x07\u202e")
        assert len(diagnostic.message) <= recheck.MAX_MESSAGE
        assert 0 <= diagnostic.line <= recheck.MAX_LINE
        assert 0 <= diagnostic.column <= recheck.MAX_LINE


def test_a_reason_not_to_cover_a_size_is_made_fit_to_print(evaluate: Evaluate) -> None:
    answer = evaluate(forward("require(False, '\\x1b]0;title\\x07' + 'y' * 5000)"))
    assert isinstance(answer, NotCovered)
    assert len(answer.reason) <= 1000
    assert "\x1b" not in answer.reason


# --- the client ---------------------------------------------------------------------------------------------------


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_interrupted_evaluation_ends_as_died_and_the_next_one_works() -> None:
    with Planner() as planner:
        assert planner.evidence
        answers: list[Any] = []
        thread = threading.Thread(
            target=lambda: answers.append(planner.evaluate(source_of(forward("while True: pass")), [SIZE]))
        )
        thread.start()
        _until(lambda: planner._running)
        planner.interrupt()
        thread.join()
        assert answers[0].cause == "died"
        assert isinstance(planner.evaluate(source_of(GOOD), [SIZE]), list)


def test_an_interrupt_between_evaluations_harms_none() -> None:
    with Planner() as planner:
        for _ in range(3):
            planner.interrupt()
            assert isinstance(planner.evaluate(source_of(GOOD), [SIZE]), list)


def test_a_planner_killed_from_outside_is_started_again_and_no_candidate_blamed() -> None:
    with Planner() as planner:
        assert planner.evidence
        for _ in range(2):
            assert planner._process is not None
            planner._process.kill()
            assert isinstance(planner.evaluate(source_of(GOOD), [SIZE]), list)


def test_a_closed_planner_leaves_no_process_and_says_so() -> None:
    planner = Planner()
    assert planner.evidence
    assert planner._process is not None
    pid = planner._process.pid
    planner.close()
    assert not Path(f"/proc/{pid}").exists()
    planner.close()
    with pytest.raises(JudgeError, match="closed"):
        planner.evaluate(source_of(GOOD), [SIZE])


def test_evaluations_from_several_threads_do_not_mix(planner: Planner) -> None:
    sizes = [size_of(i, 16, f"s{i}") for i in range(1, 9)]
    answers: dict[int, Any] = {}

    def work(i: int) -> None:
        answers[i] = planner.evaluate(source_of(forward(f"return empty({i + 1}, float32)")), [sizes[i]])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for i in range(8):
        assert answers[i][0].size == f"s{i + 1}"
        assert answers[i][0].tensors[1].spec.shape == (i + 1,)


def test_the_planner_process_imports_neither_torch_nor_numpy_nor_textual() -> None:
    with Planner() as planner:
        listing = attack(
            "raise ValueError(sorted(n for n in M if n in ('torch', 'numpy', 'textual', 'cuda')))"
        )
        assert error_of(planner.evaluate(source_of(listing), [SIZE])) == "ValueError: []"


def test_a_planner_ends_with_the_process_that_started_it() -> None:
    import subprocess
    import sys

    script = (
        "import os, time\n"
        "from workbench.dialect.planner import Planner\n"
        "p = Planner(); p.evidence\n"
        "os.write(1, str(p._process.pid).encode() + b'\\n'); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
    finally:
        parent.kill()
        parent.wait()

    def gone() -> bool:
        try:
            return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return True

    _until(gone)


def test_the_evidence_of_the_planner_names_its_means(planner: Planner) -> None:
    assert "seccomp allowlist" in planner.evidence.means
