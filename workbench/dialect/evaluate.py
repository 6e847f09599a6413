"""A plan evaluated: Python text in, one outcome for each size out. Runs in the sandboxed process only."""

from __future__ import annotations

import ast
import builtins
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import msgspec

from workbench.core.plan import Diagnostic, LaunchLimits, NotCovered, Plan, PlanFailure
from workbench.core.task import SizeSpec
from workbench.dialect import signature
from workbench.dialect.builder import PlanBuilder
from workbench.dialect.language import PLAN_FILE, NotCoveredError, Tensor, Words, kind
from workbench.dialect.values import PlanError


class EvaluateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """From the client: one candidate at all its sizes."""

    plan: str
    plan_line: int
    sizes: tuple[SizeSpec, ...]
    limits: LaunchLimits
    knobs: dict[str, int | float | bool | str]
    own_kernels_only: bool


class Outcome(msgspec.Struct, frozen=True):
    """One size: a plan or the reason why it is not covered."""

    # No defaults: an answer of a million empty outcomes would otherwise cost a byte each, and its reader 50.
    plan: Plan | None
    not_covered: NotCovered | None


class Evaluated(msgspec.Struct, frozen=True):
    """The sandboxed process's answer; not to be believed before it is checked (`recheck`)."""

    outcomes: tuple[Outcome, ...] = ()
    failure: PlanFailure | None = None


_OPEN_NAMES = (
    "abs all any bool dict divmod enumerate filter float format frozenset int isinstance issubclass iter len list map "
    "max min next pow range repr reversed round set slice sorted str sum tuple type zip print hasattr getattr callable "
    "object property staticmethod classmethod super __build_class__ bytes chr ord bin hex hash complex "
    "True False None ArithmeticError AssertionError AttributeError Exception BaseException IndexError KeyError "
    "LookupError NotImplementedError OverflowError RuntimeError StopIteration TypeError ValueError ZeroDivisionError "
    "MemoryError RecursionError NameError NotImplemented Ellipsis"
)
"""Python's names that a plan keeps. Not a defence (the process is one): what is left out reads the clock, addresses or
files, so that a plan would not say the same twice, or would only fail later and less clearly."""


def evaluate(request: EvaluateRequest) -> Evaluated:
    """Evaluate the plan at every size. Never raises for what the plan does, whatever that is."""
    outcomes: list[Outcome] = []
    try:
        code, returned = _compile(request.plan, request.plan_line)
        for size in request.sizes:
            outcomes.append(_at_size(code, returned, request, size))
        return Evaluated(tuple(outcomes))
    except MemoryError as error:
        # The plan's own frames hold what filled the memory; let go of it before the answer is written.
        place = _place(error)
        error.__traceback__ = error.__context__ = None
        message = "The plan ran out of memory; it describes launches and needs next to none itself."
        return Evaluated(failure=PlanFailure((Diagnostic(message, *place),), "memory"))
    except BaseException as error:
        try:
            found = _syntax(error) if isinstance(error, SyntaxError) else _diagnostic(error)
            if outcomes:  # it held at the sizes before: say where it does not
                found = Diagnostic(
                    f"At size {request.sizes[len(outcomes)].name}: {found.message}", found.line, found.column
                )
            found = Diagnostic(_printable(found.message), found.line, found.column)
        except BaseException:
            found = Diagnostic("The plan raised an exception that cannot be printed.")
        return Evaluated(failure=PlanFailure((found,)))


def _compile(plan: str, first_line: int) -> tuple[types.CodeType, tuple[str, ...]]:
    """Code whose lines and columns are the file's own, and the variables that forward returns; knobs and saved tensors
    learn the names they have there."""
    lines = plan.split("\n")
    used = next((text for text in lines if text.strip() and not text.lstrip().startswith("#")), "")
    # A plan that stands indented as a whole is a block: its columns stay what they are.
    head = "if True:\n" if used[:1] in (" ", "\t") else "\n"
    text = "\n" * (first_line - 2) + head + plan + "\n"
    try:
        tree = ast.parse(text, PLAN_FILE)
    except IndentationError:
        if head == "\n":
            raise
        tree = ast.parse("\n" * (first_line - 1) + plan + "\n", PLAN_FILE)  # Python's own words for it
    names = _Names()
    names.visit(tree)
    return compile(tree, PLAN_FILE, "exec", dont_inherit=True), names.returned[-1] if names.returned else ()


class _Names(ast.NodeTransformer):
    """`BLOCK = tune(...)` gets name="BLOCK", `save(rstd)` name="rstd"; what forward returns is noted."""

    def __init__(self) -> None:
        self.returned: list[tuple[str, ...]] = []

    def _assigned(self, target: ast.expr, value: ast.expr | None) -> None:
        if isinstance(target, ast.Name) and isinstance(value, ast.Call) and _called(value) == "tune":
            _name(value, target.id)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        if len(node.targets) == 1:
            target, value = node.targets[0], node.value
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                for one, other in zip(target.elts, value.elts, strict=False):
                    self._assigned(one, other)
            self._assigned(target, value)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self._assigned(node.target, node.value)
        return self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:
        self._assigned(node.target, node.value)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if node.name == "forward":
            self.returned = [
                _names_of(n.value) for n in ast.walk(node) if isinstance(n, ast.Return) and n.value
            ]
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if _called(node) == "save" and len(node.args) == 1 and isinstance(node.args[0], ast.Name):
            _name(node, node.args[0].id)
        return self.generic_visit(node)


def _names_of(value: ast.expr) -> tuple[str, ...]:
    """The variables that forward returns: their gradients are called after them (`return y`: grad_y)."""
    if isinstance(value, ast.Dict):
        return ()
    parts = value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
    return tuple(part.id if isinstance(part, ast.Name) else "" for part in parts)


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _name(call: ast.Call, name: str) -> None:
    if not any(k.arg in ("name", None) for k in call.keywords):
        call.keywords.append(ast.keyword("name", ast.copy_location(ast.Constant(name), call)))
        ast.fix_missing_locations(call)


def _at_size(
    code: types.CodeType, returned: tuple[str, ...], request: EvaluateRequest, size: SizeSpec
) -> Outcome:
    builder = PlanBuilder(size, request.limits, own_kernels_only=request.own_kernels_only)
    words = Words(builder, request.knobs)
    names = words.namespace()
    names["__builtins__"] = _builtins()
    names["__name__"] = "plan"
    try:
        exec(code, names)
        forward = names.get("forward")
        if not isinstance(forward, types.FunctionType):
            raise PlanError(
                f"The plan has no function forward. The task's signature: {signature.signature_text(size)}"
            )
        result = forward(**_arguments(forward, words))
        outputs = _returned(result, size, forward)
        backward = _backward(names.get("backward"), words, builder, returned)
        plan = builder.finish(outputs, forward.__code__.co_firstlineno, backward)
    except NotCoveredError as reason:
        return Outcome(None, NotCovered(size.name, _printable(str(reason)), _place(reason)[0]))
    unknown = [name for name in request.knobs if name not in plan.values]
    if unknown:
        known = ", ".join(plan.values) or "none"
        raise PlanError(f"The plan has no knob {unknown[0]}; its knobs: {known}.")
    return Outcome(plan, None)


def _backward(function: Any, words: Words, forward: PlanBuilder, returned: tuple[str, ...]) -> Plan | None:
    """The plan of `backward`; None where the candidate has none."""
    if function is None:
        return None
    if not isinstance(function, types.FunctionType):
        raise PlanError(
            f"backward is {kind(function)}; it should be a function, def backward(..., grad_out)."
        )
    size = forward.size
    if not size.gradients:
        raise _DefinitionError(
            "The task has no gradient, so there is nothing for backward to compute.", function
        )
    words.builder = builder = forward.backward()
    aliases: dict[str, str] = {}
    if len(returned) == len(size.outputs):
        aliases = {
            f"grad_{returned[n]}": f"gradient:{size.outputs[n].name}" for n in size.incoming if returned[n]
        }
    gradients = _gradients(function(**_arguments(function, words, aliases)), builder, function)
    return builder.finish(gradients, function.__code__.co_firstlineno)


def _gradients(result: Any, builder: PlanBuilder, function: types.FunctionType) -> tuple[int, ...]:
    """The returned gradients' numbers, in the order of the signature; None stands for one that is not wanted."""
    wanted = builder.forward.size.gradients if builder.forward is not None else ()
    expected = ", ".join(f"{o.name}: {o.tensor}" for o in builder.size.outputs)

    def refuse(what: str) -> NoReturn:
        raise _DefinitionError(f"backward returns {what}; wanted are {expected}.", function)

    if isinstance(result, dict):
        by_path: dict[str, Any] = {}
        for name, value in result.items():
            found = signature.find_key(builder.size, name) if isinstance(name, str) else ""
            if isinstance(found, str):
                refuse(f"a gradient of {name!r:.60}, which is no name of the task")
            if value is not None and found.path not in wanted:
                refuse(f"a gradient of {found.name}, which has none")
            by_path[found.path] = value
        missing = [
            output.name
            for path, output in zip(wanted, builder.size.outputs, strict=True)
            if by_path.get(path) is None
        ]
        if missing:
            refuse(f"no {missing[0]}")
        values = [by_path[path] for path in wanted]
    else:
        given = list(result) if isinstance(result, tuple | list) else [result]
        values = [value for value in given if value is not None]
        if not values:
            refuse("nothing")
    for value in values:
        if not isinstance(value, Tensor):
            refuse(kind(value))
        if value._builder is not builder:
            refuse("a tensor of forward")
    return tuple(value._number for value in values)


def _builtins() -> dict[str, Any]:
    kept = {name: getattr(builtins, name) for name in _OPEN_NAMES.split() if hasattr(builtins, name)}
    return {**kept, "__import__": _import, **{name: _absent(name) for name in _ABSENT}}


def _import(name: str, *_: Any, **__: Any) -> Any:
    if name == "math":
        import math

        return math
    raise PlanError(
        f"A plan cannot import {name:.60}: it describes allocations and launches and sees shapes only. "
        "math is there; computing belongs in the device code, a library step in torch_op(...)."
    )


_ABSENT = ("open", "eval", "exec", "input", "id", "globals", "locals", "vars", "breakpoint", "__loader__")


def _absent(name: str) -> Callable[..., NoReturn]:
    def absent(*_: Any, **__: Any) -> NoReturn:
        raise PlanError(f"{name} is not part of the plan language.")

    return absent


def _arguments(
    forward: types.FunctionType, words: Words, aliases: Mapping[str, str] = types.MappingProxyType({})
) -> dict[str, Any]:
    """What a plan's function is called with. `aliases`: names of backward's own to their paths."""
    size = words.builder.size
    arguments: dict[str, Any] = {}
    for parameter in inspect.signature(forward).parameters.values():
        if (
            parameter.kind is not parameter.POSITIONAL_OR_KEYWORD
            and parameter.kind is not parameter.KEYWORD_ONLY
        ):
            message = f"{forward.__name__} takes its parameters by name; {parameter} is not possible (params[...] reaches any name)."
            raise _DefinitionError(
                f"{message}\nThe task's signature: {signature.signature_text(size)}", forward
            )
        found = signature.find(size, parameter.name)
        if isinstance(found, str) and parameter.name in aliases:
            found = signature.find_key(size, aliases[parameter.name])
        if isinstance(found, str) and parameter.name == "params":
            arguments["params"] = words.params
        elif isinstance(found, str):
            raise _DefinitionError(
                f"{found}\nThe task's signature: {signature.signature_text(size)}", forward
            )
        else:
            arguments[parameter.name] = words.value(found)
    return arguments


class _DefinitionError(PlanError):
    """Blames the line of `def forward`."""

    def __init__(self, message: str, forward: types.FunctionType) -> None:
        super().__init__(message)
        self.line = forward.__code__.co_firstlineno


def _returned(result: Any, size: SizeSpec, forward: types.FunctionType) -> tuple[int, ...]:
    """The returned tensors' numbers, in the reference's order."""
    expected = ", ".join(f"{o.name}: {o.tensor}" for o in size.outputs)
    if isinstance(result, dict):
        names = [o.name for o in size.outputs]
        # The reference's own keys do as well: "scaled" for the output that is called out_scaled.
        own = [name.removeprefix("out_") for name in names]
        if set(result) == set(own):
            names = own
        if set(result) != set(names):
            raise _DefinitionError(
                f"forward returns {', '.join(map(str, list(result)[:20]))}; the reference returns {expected}.",
                forward,
            )
        result = tuple(result[name] for name in names)
    if result is None and not size.outputs:
        return ()
    values = tuple(result) if isinstance(result, tuple | list) else (result,)
    for value in values:
        if not isinstance(value, Tensor):
            what = "nothing" if value is None else kind(value)
            fix = " Add `return` with the output tensors." if value is None else ""
            raise _DefinitionError(f"forward returns {what}; the reference returns {expected}.{fix}", forward)
    return tuple(value._number for value in values)


# --- errors -----------------------------------------------------------------------------------------------------


def _printable(text: str) -> str:
    """Without lone surrogates, which no encoder takes."""
    return text.encode(errors="replace").decode()


def _place(error: BaseException) -> tuple[int, int]:
    """Line and column (1-based) of the innermost plan line that the error passed; zeros where there is none."""
    line = column = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == PLAN_FILE:
            line, column = trace.tb_lineno, 0
            positions = list(trace.tb_frame.f_code.co_positions())[trace.tb_lasti // 2]
            if positions[0] == line and positions[2] is not None:
                column = positions[2] + 1
        trace = trace.tb_next
    return line, column


def _diagnostic(error: BaseException) -> Diagnostic:
    line, column = _place(error)
    if isinstance(error, _DefinitionError):
        return Diagnostic(str(error), error.line)
    if isinstance(error, PlanError):
        return Diagnostic(str(error), line, column)
    if isinstance(error, RecursionError):
        return Diagnostic("The plan recurses without end.", line, column)
    if isinstance(error, PermissionError):
        return Diagnostic(f"The plan tried what its sandbox refuses ({error}).", line, column)
    if isinstance(error, SystemExit):
        return Diagnostic("The plan ended itself.", line, column)
    return Diagnostic(f"{type(error).__name__}: {error!s:.500}".removesuffix(": "), line, column)


def _syntax(error: SyntaxError) -> Diagnostic:
    if error.filename != PLAN_FILE:
        return Diagnostic(f"SyntaxError: {error.msg}", *_place(error))
    return Diagnostic(f"The plan is not Python: {error.msg}.", error.lineno or 0, error.offset or 0)
