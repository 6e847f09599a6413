"""The integers of a task's text: which there are, and the same text with other values.

Two kinds of name reach them. A *global* ("N") is any name that the module binds at its top level, whatever the
expression. A *literal* is an integer written out in the text that is no global by itself: "input_shape[0]" is the
first one in the statement that binds `input_shape`, "get_inputs[2]" the third one in that function,
"Config.hidden" a class attribute.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from workbench.core.errors import TaskError

_FUNCTIONS = ("get_inputs", "get_init_inputs")
_MAX_VALUE = 1 << 62


class Literal(NamedTuple):
    """An integer in the text."""

    label: str
    value: int
    replace: Callable[[int], None]


Found = tuple[str, int, Callable[[int], None]]
"""A keyword ("" where there is none), the value, and what replaces it."""


def literals(tree: ast.Module) -> list[Literal]:
    """Every integer of the text that a size may override, in source order, labels unique."""
    found: list[Literal] = []
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            found += _of_assignment(statement, "")
        elif isinstance(statement, ast.FunctionDef) and statement.name in _FUNCTIONS:
            found += _numbered(statement.name, _in_function(statement))
        elif isinstance(statement, ast.ClassDef):
            for inner in statement.body:
                if isinstance(inner, ast.Assign | ast.AnnAssign) and inner.value is not None:
                    found += _of_assignment(inner, f"{statement.name}.")
                elif isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                    found += _defaults(f"{statement.name}.__init__", inner)
    unique: dict[str, Literal] = {}
    for literal in found:
        unique[literal.label] = literal  # the last binding of a name is the one that counts
    return list(unique.values())


def bound_names(tree: ast.Module) -> set[str]:
    """Names that the module binds at its top level by assignment or by `from ... import`."""
    return {name for statement in _top_level(tree.body) for name in _binds(statement)}


def override(source: str, file_name: str, values: Mapping[str, int]) -> ast.Module:
    """The module's tree with `values` in place; lines stay the file's own.

    Raises:
        TaskError: a name in `values` is neither a global nor a literal of the text.
    """
    tree = ast.parse(source, filename=file_name)
    if not values:
        return tree
    by_label = {literal.label: literal for literal in literals(tree)}
    names = bound_names(tree)
    left = dict(values)
    for label, value in values.items():
        # A global may be bound more than once (in an `if`, say): it is bound again after each.
        if label in by_label and label not in names:
            by_label[label].replace(value)
            del left[label]
    unknown = [label for label in left if label not in names]
    if unknown:
        raise TaskError(
            f"The size overrides {unknown[0]!r}, which the task's module does not define.",
            do=f"Its top-level names are: {', '.join(sorted(names)) or 'none'}.",
        )
    tree.body = _with_bindings(tree.body, left)
    return ast.fix_missing_locations(tree)


def integer(node: ast.expr) -> int | None:
    """The value of an expression of integers only (`2048 * 2`, `1 << 14`, `int(1e6)`), or None."""
    if isinstance(node, ast.Constant):
        return node.value if type(node.value) is int and abs(node.value) < _MAX_VALUE else None
    if not isinstance(node, ast.UnaryOp | ast.BinOp | ast.Call) or not _is_arithmetic(node):
        return None
    try:
        value = eval(compile(ast.Expression(node), "<integer>", "eval"), {"__builtins__": {}, "int": int})
    except Exception:  # not an integer after all, whatever the reason (1 // 0, 2 ** 1000000 is refused below)
        return None
    return value if type(value) is int and abs(value) < _MAX_VALUE else None


def _is_arithmetic(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and abs(node.value) < _MAX_VALUE
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub | ast.UAdd) and _is_arithmetic(node.operand)
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Pow | ast.LShift):
            power = node.right.value if isinstance(node.right, ast.Constant) else None
            if not isinstance(power, int) or not 0 <= power <= 62:
                return False
        elif not isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.FloorDiv | ast.Mod | ast.Div):
            return False
        return _is_arithmetic(node.left) and _is_arithmetic(node.right)
    if isinstance(node, ast.Call):
        return (
            isinstance(node.func, ast.Name)
            and node.func.id == "int"
            and len(node.args) == 1
            and not node.keywords
            and _is_arithmetic(node.args[0])
        )
    return False


def _of_assignment(statement: ast.Assign | ast.AnnAssign, prefix: str) -> list[Literal]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    value = statement.value
    if value is None or len(targets) != 1:
        return []
    target = targets[0]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        found: list[Literal] = []
        for index, (name, element) in enumerate(zip(target.elts, value.elts, strict=True)):
            number = integer(element)
            if isinstance(name, ast.Name) and number is not None:
                found.append(Literal(prefix + name.id, number, _replacer(value.elts, index)))
        return found
    if not isinstance(target, ast.Name):
        return []
    number = integer(value)
    if number is not None:
        return [Literal(prefix + target.id, number, _field_replacer(statement, "value"))]
    return _numbered(prefix + target.id, _in_containers(statement, "value", value))


def _numbered(name: str, found: Iterator[Found]) -> list[Literal]:
    """A place in the text is known by its keyword where it has one, else by its number."""
    result = []
    for number, (keyword, value, replace) in enumerate(found):
        result.append(Literal(f"{name}.{keyword}" if keyword else f"{name}[{number}]", value, replace))
    return result


def _in_containers(parent: ast.AST, field: str, node: ast.expr, keyword: str = "") -> Iterator[Found]:
    """Integers in nested tuples, lists, dicts and calls; factors of an expression with names are left alone."""
    number = integer(node)
    if number is not None:
        yield keyword, number, _field_replacer(parent, field)
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        yield from _in_list(node.elts)
    elif isinstance(node, ast.Dict):
        for index, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            name = key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else ""
            number = integer(value)
            if number is not None:
                yield name, number, _replacer(node.values, index)
            else:
                yield from _in_containers(ast.Expression(value), "body", value)
    elif isinstance(node, ast.Call):
        yield from _in_list(node.args)
        for argument in node.keywords:
            yield from _in_containers(argument, "value", argument.value, argument.arg or "")


def _in_list(elements: list[ast.expr]) -> Iterator[Found]:
    for index, element in enumerate(elements):
        number = integer(element)
        if number is not None:
            yield "", number, _replacer(elements, index)
        else:
            yield from _in_containers(ast.Expression(element), "body", element)


def _in_function(function: ast.FunctionDef) -> Iterator[Found]:
    yield from _default_literals(function)
    for statement in function.body:
        yield from _everywhere(statement)


def _everywhere(node: ast.AST) -> Iterator[Found]:
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.expr):
            number = integer(value)
            if number is not None:
                yield "", number, _field_replacer(node, field)
                continue
            yield from _everywhere(value)
        elif isinstance(value, ast.AST):
            yield from _everywhere(value)
        elif isinstance(value, list):
            for index, element in enumerate(value):
                number = integer(element) if isinstance(element, ast.expr) else None
                if number is not None:
                    yield "", number, _replacer(value, index)
                elif isinstance(element, ast.AST):
                    yield from _everywhere(element)


def _defaults(name: str, function: ast.FunctionDef) -> list[Literal]:
    return [Literal(f"{name}({argument})", v, r) for argument, v, r in _default_literals(function)]


def _default_literals(function: ast.FunctionDef) -> Iterator[Found]:
    arguments = function.args
    positional = (
        [*arguments.posonlyargs, *arguments.args][-len(arguments.defaults) :] if arguments.defaults else []
    )
    pairs: list[tuple[ast.arg, list[ast.expr], int]] = [
        (argument, arguments.defaults, index) for index, argument in enumerate(positional)
    ]
    keyword_defaults: list = arguments.kw_defaults
    pairs += [(argument, keyword_defaults, index) for index, argument in enumerate(arguments.kwonlyargs)]
    for argument, defaults, index in pairs:
        if defaults[index] is not None and (number := integer(defaults[index])) is not None:
            yield argument.arg, number, _replacer(defaults, index)


def _replacer(elements: list, index: int) -> Callable[[int], None]:
    def replace(value: int) -> None:
        elements[index] = ast.copy_location(ast.Constant(value), elements[index])

    return replace


def _field_replacer(node: ast.AST, field: str) -> Callable[[int], None]:
    def replace(value: int) -> None:
        setattr(node, field, ast.copy_location(ast.Constant(value), getattr(node, field)))

    return replace


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        for field in ("body", "orelse", "finalbody"):
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from _top_level(getattr(statement, field, []))


def _binds(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.ImportFrom):
        return {alias.asname or alias.name for alias in statement.names if alias.name != "*"}
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


def _with_bindings(body: list[ast.stmt], values: Mapping[str, int]) -> list[ast.stmt]:
    """After each statement that binds a name in `values`, one that binds it to its value."""
    result: list[ast.stmt] = []
    for statement in body:
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for field in ("body", "orelse", "finalbody"):
                inner = getattr(statement, field, None)
                if inner:
                    setattr(statement, field, _with_bindings(inner, values))
        result.append(statement)
        for name in sorted(_binds(statement) & values.keys()):
            binding = ast.Assign([ast.Name(name, ast.Store())], ast.Constant(values[name]))
            result.append(ast.copy_location(binding, statement))
    return result


def arguments_of(tree: ast.Module, function: str) -> set[str]:
    """Names of the arguments of a top-level function."""
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == function:
            arguments = statement.args
            return {a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]}
    return set()


def argument_defaults(tree: ast.Module, function: str) -> dict[str, int]:
    """Integer defaults of the arguments of a top-level function."""
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == function:
            return {name: value for name, value, _ in _default_literals(statement)}
    return {}
