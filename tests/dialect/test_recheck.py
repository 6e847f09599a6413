"""The check of a hostile answer ends, with the plan or a refusal, whatever the answer says."""

from __future__ import annotations

import copy
import random
from typing import Any

import msgspec
import pytest
from dialect_plans import SIZE, Evaluate, forward, plan_of

from workbench.core.plan import LaunchLimits, Plan
from workbench.dialect import recheck

RICH = (
    "A = tune(256, [128, 256])\n"
    'compile(defines={"A": A, "B": 2}, fast_math=True, max_registers=64)\n'
    + forward(
        "launch('first', 4, A, [x, 1, 0.5, True])",
        "y = empty_like(x)",
        "launch('second<float, 4>', (1, 2, 4), (8, 8), [x, y, f32(1)], shared=64, cluster=(1, 2, 2))",
        "z = zeros(7, int32)",
        "a = torch_op('aten.mm', x, torch_op('aten.transpose_copy', x, 0, 1))",
        "v = view(y, -1)",
        "launch('third', 1, 1, [pointers([y, a, z]), v, i64(-1)], cooperative=True)",
        "s = torch_op('aten.sum', torch_op('aten.cat', [a, a]), [0], keepdim=True)",
        "w = zeros((), half)",
        "save(s)",
        "launch('fourth', 1, 1, [s, w])",
        "return y, v, s",
    )
)


def check(plan: Plan) -> Plan:
    return recheck.rebuild(plan, SIZE, LaunchLimits(), {}, False)


def test_an_honest_plan_of_everything_comes_back_equal(evaluate: Evaluate) -> None:
    plan = plan_of(evaluate(RICH))
    assert len(plan.steps) == 10
    assert check(plan) == plan
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(plan), type=Plan)
    assert check(decoded) == plan


STRANGE: list[Any] = [
    *(
        -1,
        0,
        1,
        2,
        3,
        5,
        7,
        99,
        1 << 31,
        1 << 40,
        (1 << 63) - 1,
        -(1 << 63),
        0.5,
        1.0,
        float("nan"),
        float("inf"),
    ),
    *(
        True,
        False,
        None,
        "",
        "x",
        "input:x",
        "parameter:layers.0.weight",
        "attribute:groups",
        "float32",
        "zeros",
    ),
    *(
        "view",
        "op",
        "signature",
        "output",
        "scratch",
        "aten.relu",
        "int",
        "i32",
        "\x1b[2J",
        [],
        [0],
        [0, 1],
        [-1],
        {},
    ),
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += _places(inner, (*path, key))
    return found


def _mutated(raw: Any, rng: random.Random) -> Any:
    """A copy in which one to three things are replaced, removed, doubled or moved."""
    changed = copy.deepcopy(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(_places(changed))
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        key = path[-1]
        deed = rng.choice(("replace", "replace", "replace", "nudge", "remove", "double", "shuffle"))
        value = parent[key]
        if deed == "nudge" and isinstance(value, int) and not isinstance(value, bool):
            parent[key] = value + rng.choice((-1, 1))
        elif deed == "remove" and isinstance(parent, list):
            del parent[key]
        elif deed == "double" and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(value))
        elif deed == "shuffle" and isinstance(value, list):
            rng.shuffle(value)
        else:
            parent[key] = copy.deepcopy(rng.choice(STRANGE))
    return changed


def test_a_mutated_plan_is_refused_or_is_the_plan_that_it_says(evaluate: Evaluate, seed: int) -> None:
    rng = random.Random(seed)
    raw = msgspec.to_builtins(plan_of(evaluate(RICH)))
    refused = taken = 0
    for _ in range(4000):
        mutated = _mutated(raw, rng)
        try:
            plan = msgspec.convert(mutated, Plan)
        except msgspec.ValidationError:
            continue
        try:
            assert check(plan) == plan
            taken += 1
        except recheck.ForgeryError as error:
            assert str(error)
            refused += 1
    assert refused > 100
    assert taken > 50  # another kernel's name, another number: plans that could have been written


@pytest.mark.parametrize("text", ["plain", "tab\tand\nline", "é 漢 🙂"])
def test_clean_leaves_ordinary_text(text: str) -> None:
    assert recheck.clean(text) == text
