"""`backward` in a plan: what it is given, what it returns, what is refused, and that no forged one is taken."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from dialect_plans import Evaluate, error_of, forward, plan_of, size_of

from workbench.core.build import Kernel, KernelParameter
from workbench.core.plan import Fill, Launch, LaunchLimits, Plan, PlanFailure
from workbench.core.task import Output, SizeSpec
from workbench.core.tensors import contiguous
from workbench.dialect import recheck
from workbench.dialect.backward import size_of as backward_size_of
from workbench.dialect.check import check_arguments, check_outputs

SIZE = msgspec.structs.replace(
    size_of(64, 512), gradients=("input:x", "parameter:layers.0.weight"), incoming=(0,)
)
FORWARD = forward(
    "y, rstd = empty_like(x), empty(x.shape[0], float32)",
    "launch('f', 64, 32, [x, layers_0_weight, y, rstd])",
    "save(rstd)",
    "return y",
    parameters="x, layers_0_weight",
)


def backward(*body: str, parameters: str = "x, layers_0_weight, rstd, grad_y") -> str:
    """A whole plan with this backward; its `def` is line 7, its first body line 8."""
    return FORWARD + f"def backward({parameters}):\n" + "".join(f"    {line}\n" for line in body)


GOOD = (
    "dx, dw = empty_like(x), zeros_like(layers_0_weight)",
    "launch('b', 64, 32, [x, layers_0_weight, rstd, grad_y, dx, dw])",
)


def ask(evaluate: Evaluate, plan: str, **options: Any) -> Any:
    (answer,) = (
        evaluated if isinstance(evaluated := evaluate(plan, [SIZE], **options), list) else (evaluated,)
    )
    return answer


def plan_at(evaluate: Evaluate, *body: str, parameters: str = "x, layers_0_weight, rstd, grad_y") -> Plan:
    return plan_of(ask(evaluate, backward(*body, parameters=parameters)))


def gradients_of(plan: Plan) -> list[str]:
    """Shapes of the returned gradients."""
    assert plan.backward is not None
    return [str(plan.backward.tensors[n].spec) for n in plan.backward.outputs]


def test_backward_is_a_plan_of_its_own_with_what_forward_saved(evaluate: Evaluate) -> None:
    plan = plan_at(evaluate, *GOOD, "return dx, dw")
    assert plan.backward is not None and check_outputs(plan, SIZE) == ()
    assert [type(s) for s in plan.backward.steps] == [Fill, Launch] and len(plan.steps) == 1
    paths = [t.path for t in plan.backward.tensors if t.path]
    assert paths == ["input:x", "parameter:layers.0.weight", "saved:rstd", "gradient:out"]
    assert plan.kernels == ("f", "b") and not plan.uses_library
    assert plan.backward.line == 7 and plan.backward.options == plan.options


@pytest.mark.parametrize("name", ["grad_y", "grad_out"])
def test_an_incoming_gradient_is_called_after_the_variable_or_the_output(
    evaluate: Evaluate, name: str
) -> None:
    body = (*GOOD[:1], f"launch('b', 64, 32, [{name}, dx, dw])", "return dx, dw")
    plan_at(evaluate, *body, parameters=f"x, layers_0_weight, {name}")
    body = ("g = params['gradient:out']", *GOOD[:1], "launch('b', 1, 1, [g, dx, dw])", "return dx, dw")
    plan_at(evaluate, *body, parameters="x, layers_0_weight")


RETURNS = {
    "in order": "return dx, dw",
    "a list": "return [dx, dw]",
    "None for what has none": "return dx, dw, None",
    "by name": "return {'layers_0_weight': dw, 'x': dx}",
    "by key": "return {'layers.0.weight': dw, 'input:x': dx, 'groups': None}",
    "the incoming one": "return grad_y, dw",
    "a view": "return view(dx, 64, 512), dw",
}


@pytest.mark.parametrize("returned", RETURNS.values(), ids=RETURNS)
def test_gradients_are_returned_in_order_or_by_name(evaluate: Evaluate, returned: str) -> None:
    plan = plan_at(evaluate, *GOOD, returned)
    assert gradients_of(plan) == ["float32[64, 512]", "float32[512]"]
    assert check_outputs(plan, SIZE) == ()


REFUSED = {
    "return dx": "backward returns 1 gradient; wanted are gradient of x: float32[64, 512], gradient of layers",
    "return dx, None": "backward returns 1 gradient",
    "return dx, dw, dw": "backward returns 3 gradients",
    "return dw, dx": "It would fit gradient of layers_0_weight",
    "return empty(3, float32), dw": "The gradient of x is float32[3]; it should be float32[64, 512]",
    "return empty_like(x, float16), dw": "it should be float32[64, 512]",
    "return x, dw": "The gradient of x is x itself; allocate it",
    "return dx, rstd": "The gradient of layers_0_weight is float32[64]",
    "pass": "backward returns nothing",
    "return 3, dw": "backward returns 3; wanted are",
    "return {'x': dx}": "backward returns no gradient of layers_0_weight",
    "return {'x': dx, 'layers_0_weight': None}": "backward returns no gradient of layers_0_weight",
    "return {'x': dx, 'layers_0_weight': dw, 'bias': dw}": "a gradient of 'bias', which is no name of the task",
    "return {'x': dx, 'layers_0_weight': dw, 'groups': dw}": "a gradient of groups, which has none",
    "return {1: dx}": "a gradient of 1",
    "save(dx); return dx, dw": "save: forward hands tensors to backward",
    "launch('b', 1, 1, [kept]); return dx, dw": "a tensor of forward is gone in backward",
    "torch_op('aten.relu', kept); return dx, dw": "a tensor of forward is gone in backward",
    "return dx, kept": "backward returns a tensor of forward",
    "compile(defines={'A': 2}); return dx, dw": "compile: A is 1 in forward",
}


@pytest.mark.parametrize("returned", REFUSED)
def test_what_backward_gets_wrong_is_said(evaluate: Evaluate, returned: str) -> None:
    text = backward(*GOOD, returned).replace("save(rstd)", "save(rstd); global kept; kept = rstd")
    answer = ask(evaluate, "compile(defines={'A': 1})\n" + text)
    if isinstance(answer, PlanFailure):
        found = error_of(answer)
    else:
        found = " ".join(d.message for d in check_outputs(plan_of(answer), SIZE))
    assert REFUSED[returned] in found


def test_a_name_that_was_not_saved_is_refused_with_what_there_is(evaluate: Evaluate) -> None:
    message = error_of(ask(evaluate, backward("return x", parameters="x, rstdev")), line=7)
    assert "backward is given no rstdev" in message and "Did you mean rstd?" in message
    assert "grad_out: float32[64, 512]" in message and "rstd: float32[64]" in message


def test_a_saved_tensor_that_no_step_was_given_is_refused(evaluate: Evaluate) -> None:
    text = backward(*GOOD, "return dx, dw").replace("y, rstd])", "y])")
    (found,) = check_outputs(plan_of(ask(evaluate, text)), SIZE)
    assert "nothing is ever written to rstd" in found.message and found.line == 3


def test_a_saved_tensor_does_not_take_a_name_of_the_signature(evaluate: Evaluate) -> None:
    text = backward(*GOOD, "return dx, dw").replace("save(rstd)", "save(rstd, name='groups')")
    assert "groups is a name of the signature already" in error_of(ask(evaluate, text))
    same = backward(*GOOD, "return dx, dw").replace("save(rstd)", "save(rstd); save(x)")
    plan = plan_of(ask(evaluate, same))
    names = [p.name for p in backward_size_of(plan, SIZE).parameters]
    assert names.count("x") == 1


def test_a_task_without_gradient_takes_no_backward(evaluate: Evaluate) -> None:
    answer = evaluate(backward(*GOOD, "return dx, dw"), [size_of(64, 512)])
    assert "The task has no gradient" in error_of(answer, line=7)
    assert "should be a function" in error_of(ask(evaluate, FORWARD + "backward = 3\n"))


def test_knobs_options_and_require_are_one_for_both(evaluate: Evaluate) -> None:
    text = "A = tune(1, [1, 2])\n" + backward(
        "B = tune(32, [32, 64])", "compile(defines={'B': B}, fast_math=True)", *GOOD, "return dx, dw"
    )
    plan = plan_of(ask(evaluate, text, knobs={"B": 64}))
    assert plan.backward is not None
    assert [k.name for k in plan.knobs] == ["A", "B"] and plan.values == {"A": 1, "B": 64}
    assert plan.options == plan.backward.options and plan.options.fast_math
    assert plan.options.defines == (("B", "64"),)
    answer = ask(evaluate, backward("require(False, 'not here')", "return x"))
    assert answer.reason == "not here"


def test_only_outputs_with_a_gradient_have_one_coming_in(evaluate: Evaluate) -> None:
    two = msgspec.structs.replace(
        SIZE,
        outputs=(
            Output("out_0", contiguous((64,), "int64")),
            Output("out_1", contiguous((64, 512), "float32")),
        ),
        incoming=(1,),
    )
    text = FORWARD.replace("return y", "n = empty(64, int64); return n, y")
    text += "def backward(x, layers_0_weight, {}):\n    return empty_like(x), empty_like(layers_0_weight)\n"
    for name in ("grad_y", "grad_out_1"):
        (plan,) = evaluate(text.format(name), [two])
        assert isinstance(plan, Plan)
    assert "backward is given no grad_n" in error_of(evaluate(text.format("grad_n"), [two]))


def test_a_launch_of_backward_is_checked_against_its_kernel(evaluate: Evaluate) -> None:
    plan = plan_at(evaluate, *GOOD, "return dx, dw")
    pointer = KernelParameter(0, 8, "pointer", "float*")
    none = dict.fromkeys(("registers", "spill_bytes", "stack_bytes", "shared_bytes", "constant_bytes"), 0)
    kernels = [
        Kernel(name=name, symbol=name, parameters=(pointer,) * count, **none)
        for name, count in (("f", 4), ("b", 5))
    ]
    (found,) = check_arguments(plan, kernels)
    assert "launch b: 6 arguments for 5 parameters" in found.message and found.line == 9


def forged(plan: Plan, **changes: Any) -> Plan:
    assert plan.backward is not None
    return msgspec.structs.replace(plan, backward=msgspec.structs.replace(plan.backward, **changes))


def test_no_forged_backward_is_taken(evaluate: Evaluate) -> None:
    plan = plan_at(evaluate, *GOOD, "return dx, dw")
    half = plan.backward
    assert half is not None
    check = (LaunchLimits(), {}, False)
    assert recheck.rebuild(plan, SIZE, *check) == plan
    saved = next(n for n, t in enumerate(half.tensors) if t.path == "saved:rstd")
    tensors = list(half.tensors)
    tensors[saved] = msgspec.structs.replace(tensors[saved], path="saved:secret")
    larger = list(half.tensors)
    larger[saved] = msgspec.structs.replace(larger[saved], spec=contiguous((1 << 20,), "float32"))
    launch = half.steps[-1]
    assert isinstance(launch, Launch)
    forgeries = {
        "a tensor that was not saved": forged(plan, tensors=tuple(tensors)),
        "more than was saved": forged(plan, tensors=tuple(larger)),
        "a gradient that is no tensor": forged(plan, outputs=(0, 99)),
        "too many threads": forged(
            plan, steps=(*half.steps[:-1], msgspec.structs.replace(launch, block=(2048, 1, 1)))
        ),
        "options of its own": forged(plan, options=msgspec.structs.replace(half.options, fast_math=True)),
        "knobs of its own": forged(plan, values={"A": 1}),
        "something saved by backward": forged(plan, saved=(("dx", 0),)),
        "a backward of the backward": forged(plan, backward=half),
        "another size's": forged(plan, size="full"),
        "a step without its fill": forged(plan, steps=half.steps[1:]),
        "a line outside": forged(plan, line=-1),
        "a name forward never saved": msgspec.structs.replace(plan, saved=()),
    }
    for name, forgery in forgeries.items():
        with pytest.raises(recheck.ForgeryError):
            recheck.rebuild(forgery, SIZE, *check)
            pytest.fail(name)
    with pytest.raises(recheck.ForgeryError):
        recheck.rebuild(plan, size_of(64, 512), *check)


HOSTILE = {
    "opens a file": ("open('/etc/passwd')", "open is not part of the plan language"),
    "imports": ("import os", "cannot import os"),
    "recurses": ("return backward(x, layers_0_weight, rstd, grad_y)", "recurses without end"),
    "runs for ever": ("while True: pass", "ran longer than"),
    "replaces the builder": ("x._builder.size = None; return x", ""),
    "takes the forward's builder": ("x._builder.forward.tensors.clear(); return dx, dw", ""),
    "lies about a tensor": ("dx._number = 4096; return dx, dw", ""),
    "raises": ("raise ValueError('on purpose')", "on purpose"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_backward_gets_nothing(evaluate: Evaluate, name: str) -> None:
    body, says = HOSTILE[name]
    answer = ask(evaluate, backward(*GOOD, body))
    assert isinstance(answer, PlanFailure) and says in answer.diagnostics[0].message
    plan_at(evaluate, *GOOD, "return dx, dw")  # the planner is as it was


def test_a_skeleton_with_backward_passes_the_same_checks(evaluate: Evaluate) -> None:
    from workbench.dialect.skeleton import skeleton
    from workbench.dialect.source import CandidateSource, split

    sizes: list[SizeSpec] = [SIZE, msgspec.structs.replace(SIZE, name="odd")]
    source = split(skeleton(sizes, backward=True).encode())
    assert isinstance(source, CandidateSource)
    for plan, size in zip(evaluate(source.plan, sizes), sizes, strict=True):
        assert isinstance(plan, Plan) and plan.backward is not None
        assert check_outputs(plan, size) == ()
