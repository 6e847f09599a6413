"""The classic mistakes: each operator yields every place of a kernel at which its mistake can be made.

Operators see syntax, not meaning: some of what they make behaves like the original at every size (a barrier that was
not needed), which is for the bench to sort out. What they never do is make text that no longer parses.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tree_sitter import Node

from mutants.source import (
    Edit,
    KernelSource,
    Operator,
    conjuncts,
    field,
    inside,
    replaced,
    symbol,
)

BARRIERS = ("__syncthreads", "__syncwarp")
COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
EXPONENTIALS = ("expf", "exp", "__expf", "exp2f", "exp2", "hexp")
LOWEST = ("-FLT_MAX", "-INFINITY", "-DBL_MAX")
INDICES = ("threadIdx", "blockIdx", "blockDim", "gridDim")


def drop_barrier(source: KernelSource) -> Iterator[Edit]:
    """Leave a barrier out."""
    for call, _ in source.calls(*BARRIERS, "block.sync", "tile.sync", "warp.sync", "group.sync"):
        yield replaced(call, "(void)0")


def swap_comparison(source: KernelSource) -> Iterator[Edit]:
    """`<` for `<=`, `>` for `>=`, and the other way round."""
    for node in source.nodes("binary_expression"):
        if symbol(node) in COMPARISONS:
            yield replaced(field(node, "operator"), COMPARISONS[symbol(node)])


def off_by_one(source: KernelSource) -> Iterator[Edit]:
    """Start one late, end one early, read or write one further, or lose the `+ 1` that was there."""
    for loop in source.nodes("for_statement"):
        start = _loop_start(loop)
        if start is not None:
            yield replaced(start, f"{source.text(start)} + 1")
        condition = loop.child_by_field_name("condition")
        if condition is not None and condition.type == "binary_expression" and symbol(condition) == "<":
            bound = field(condition, "right")
            yield replaced(bound, f"{source.text(bound)} - 1")
    for node in source.nodes("subscript_expression"):
        index = _index(node)
        if index is not None and inside(node, "init_declarator", "declaration") is not node.parent:
            yield replaced(index, f"{source.text(index)} + 1")
    for node in source.nodes("binary_expression"):
        if symbol(node) in "+-" and source.text(field(node, "right")) == "1":
            yield replaced(node, source.text(field(node, "left")))


def drop_bounds_check(source: KernelSource) -> Iterator[Edit]:
    """Take one comparison of a guard for granted; a guard that returns or goes on to the next is left out."""
    for node in source.nodes("if_statement"):
        if node.child_by_field_name("alternative") is not None:
            continue
        condition = field(field(node, "condition"), "value")
        leaves = field(node, "consequence").type in ("return_statement", "continue_statement")
        for part in conjuncts(condition):
            if _compares(part):
                yield replaced(part, "false" if leaves else "true")
    for node in source.nodes("conditional_expression"):
        for part in conjuncts(field(node, "condition")):
            if _compares(part):
                yield replaced(part, "true")


def assume_divisible(source: KernelSource) -> Iterator[Edit]:
    """Take it for granted that a size is a multiple (of a vector's width, say)."""
    for node in source.nodes("binary_expression"):
        left = field(node, "left")
        if symbol(node) == "==" and source.text(field(node, "right")) == "0" and "%" in source.text(left):
            yield replaced(node, "true")


def narrow_reduction(source: KernelSource) -> Iterator[Edit]:
    """A tree that begins too low, ends too early or skips levels; a lane mask or a warp count that is too small."""
    for loop in source.nodes("for_statement"):
        update = loop.child_by_field_name("update")
        if update is None or update.type != "assignment_expression" or symbol(update) not in ("/=", ">>="):
            continue
        start = _loop_start(loop)
        if start is not None:
            yield replaced(start, f"{source.text(start)} / 2")
        condition = field(loop, "condition")
        if condition.type == "binary_expression" and symbol(condition) == ">":
            bound = field(condition, "right")
            yield replaced(bound, f"{source.text(bound)} + 1")
        step = field(update, "right")
        yield replaced(step, "4" if symbol(update) == "/=" else "2")
    for node in source.nodes("number_literal"):
        if re.fullmatch(r"0x[fF]{8}u?", source.text(node)):
            yield replaced(node, "0x0000ffffu")
    for node in source.nodes("binary_expression"):
        right = field(node, "right")
        if symbol(node) in ("/", "%") and source.text(right) == "32":
            yield replaced(right, "64")
        if symbol(node) == "<" and re.fullmatch(r"WARPS|BLOCK / 32|blockDim\.x / 32", source.text(right)):
            yield replaced(right, f"({source.text(right)}) / 2")


def uninitialised_accumulator(source: KernelSource) -> Iterator[Edit]:
    """Declare what will be added up (or compared) without giving it its first value; scratch that nobody zeroes."""
    gathered = _gathered(source)
    for node in source.nodes("init_declarator"):
        name = field(node, "declarator")
        around = node.parent.parent if node.parent is not None else None
        if around is not None and around.type == "for_statement":
            continue  # a loop's own variable
        if _root_name(source, name) in gathered and _constant(source, field(node, "value")):
            yield replaced(node, source.text(name))
    for node in source.nodes("field_declaration"):
        value = node.child_by_field_name("default_value")
        if value is not None:
            yield Edit(field(node, "declarator").end_byte, value.end_byte, "")
    for node in source.nodes("assignment_expression"):
        # Shared memory that a kernel sets to zero before it adds to it.
        left, right = field(node, "left"), field(node, "right")
        alone = node.parent is not None and node.parent.type == "expression_statement"
        if (
            alone
            and symbol(node) == "="
            and _constant(source, right)
            and _root_name(source, left) in gathered
        ):
            yield replaced(node, "(void)0")
    for call, begin, _ in source.plan_calls("zeros", "zeros_like"):
        name = getattr(call.func, "id", "")
        yield Edit(begin, begin + len(name), name.replace("zeros", "empty"))


def wrong_identity(source: KernelSource) -> Iterator[Edit]:
    """Begin a maximum at zero; let lanes without an element add a one."""
    for node in source.nodes("unary_expression"):
        if source.text(node) in LOWEST:
            yield replaced(node, "0.0f")
    for node in source.nodes("conditional_expression"):
        other = field(node, "alternative")
        if source.text(other) in ("0.0f", "0.f", "0.0"):
            yield replaced(other, "1.0f")


def wrong_stride(source: KernelSource) -> Iterator[Edit]:
    """A loop that takes steps of the wrong length, or a row that is one element too long."""
    for loop in source.nodes("for_statement"):
        update = loop.child_by_field_name("update")
        if update is not None and update.type == "assignment_expression" and symbol(update) == "+=":
            step = field(update, "right")
            yield replaced(step, f"{source.text(step)} + 1")
            yield replaced(step, f"2 * ({source.text(step)})")
            if "gridDim" in source.text(step):
                yield replaced(step, source.text(step).replace("gridDim", "blockDim", 1))
    for node in source.nodes("binary_expression"):
        right = field(node, "right")
        if symbol(node) == "*" and _is_index(source, node) and right.type == "identifier":
            yield replaced(right, f"({source.text(right)} + 1)")


def swap_indices(source: KernelSource) -> Iterator[Edit]:
    """x for y, [j][i] for [i][j], the remainder for the quotient, and the grid's axes in the plan."""
    two_dimensional = re.search(r"(threadIdx|blockIdx)\.y", source.data.decode()) is not None
    for node in source.nodes("field_expression"):
        argument, name = source.text(field(node, "argument")), field(node, "field")
        if two_dimensional and argument in INDICES and source.text(name) in "xy":
            yield replaced(name, "y" if source.text(name) == "x" else "x")
    for node in source.nodes("subscript_expression"):
        inner = field(node, "argument")
        if inner.type == "subscript_expression":
            one, two = _index(inner), _index(node)
            if one is not None and two is not None and source.text(one) != source.text(two):
                between = source.data[one.end_byte : two.start_byte].decode()
                yield Edit(one.start_byte, two.end_byte, source.text(two) + between + source.text(one))
    for node in source.nodes("binary_expression"):
        if symbol(node) in "/%" and _is_index(source, node) and field(node, "right").type == "identifier":
            yield replaced(field(node, "operator"), "%" if symbol(node) == "/" else "/")
    for match in re.finditer(r"grid=\(([\w() /,]*?\)|\w+), ([\w() /,]*?\)|\w+)\)", source.plan):
        begin = source.plan_start + len(source.plan[: match.start()].encode())
        yield Edit(begin, begin + len(match.group().encode()), f"grid=({match.group(2)}, {match.group(1)})")


def drop_max_subtraction(source: KernelSource) -> Iterator[Edit]:
    """An exponential of the value itself."""
    for _, given in source.calls(*EXPONENTIALS):
        if given and given[0].type == "binary_expression" and symbol(given[0]) == "-":
            yield replaced(given[0], source.text(field(given[0], "left")))


def accumulate_in_less(source: KernelSource) -> Iterator[Edit]:
    """float for double; sums of products cut to the tensor cores' ten bits; half for float."""
    for node in source.nodes("primitive_type"):
        around = inside(node, "declaration", "parameter_declaration", "template_argument_list")
        declares = around is not None and around.type == "declaration"
        if source.text(node) == "double" and declares and "*" not in source.text(around).split("=")[0]:
            yield replaced(node, "float")
    floats = _float_names(source)
    for node in source.nodes("assignment_expression"):
        right = field(node, "right")
        adds = symbol(node) == "+=" and _root_name(source, field(node, "left")) in floats
        if adds and inside(node, "for_statement") is not None and "shfl" not in source.text(right):
            cut = f"__uint_as_float(__float_as_uint({source.text(right)}) & 0xffffe000u)"
            yield replaced(right, cut)


def drop_term(source: KernelSource) -> Iterator[Edit]:
    """Forget an epsilon, a weight, a bias, a scale."""
    for node in source.nodes("binary_expression"):
        right = field(node, "right")
        plain = right.type in ("identifier", "subscript_expression", "field_expression")
        if symbol(node) in "+*" and plain and not _is_index(source, node) and not _within_index(source, node):
            yield replaced(node, source.text(field(node, "left")))


def wrong_component(source: KernelSource) -> Iterator[Edit]:
    """One component of a vector taken twice."""
    for node in source.nodes("field_expression"):
        argument, name = source.text(field(node, "argument")), field(node, "field")
        if argument not in INDICES and source.text(name) in ("y", "z", "w"):
            yield replaced(name, "x")


def drop_atomic(source: KernelSource) -> Iterator[Edit]:
    """A plain read, addition and write in an atomic addition's place."""
    for call, given in source.calls("atomicAdd"):
        if len(given) == 2 and call.parent is not None and call.parent.type == "expression_statement":
            yield replaced(call, f"*({source.text(given[0])}) += {source.text(given[1])}")


def round_down(source: KernelSource) -> Iterator[Edit]:
    """A quotient rounded down: a grid without its last block, a part without its remainder."""
    for call, begin, end in source.plan_calls("cdiv"):
        top, bottom = (f"({ast.unparse(given)})" for given in call.args)
        yield Edit(begin, end, f"max({top} // {bottom}, 1)")
    for node in source.nodes("binary_expression"):
        left = field(node, "left")
        bottom = source.text(field(node, "right"))
        rounding = re.fullmatch(rf"\((.*) \+ {re.escape(bottom)} - 1\)", source.text(left), re.DOTALL)
        if symbol(node) == "/" and rounding:
            yield replaced(node, f"{rounding.group(1)} / {bottom}")


OPERATORS: dict[str, Operator] = {
    operator.__name__: operator
    for operator in (
        drop_barrier,
        off_by_one,
        drop_bounds_check,
        assume_divisible,
        narrow_reduction,
        swap_comparison,
        uninitialised_accumulator,
        wrong_identity,
        wrong_stride,
        swap_indices,
        drop_max_subtraction,
        accumulate_in_less,
        drop_term,
        wrong_component,
        drop_atomic,
        round_down,
    )
}


# --- what the operators ask of the tree -----------------------------------------------------------------------------


def _loop_start(loop: Node) -> Node | None:
    """The first value of a loop's variable."""
    first = loop.child_by_field_name("initializer")
    if first is None or first.type != "declaration":
        return None
    declared = next((n for n in first.named_children if n.type == "init_declarator"), None)
    return declared.child_by_field_name("value") if declared is not None else None


def _index(node: Node) -> Node | None:
    indices = field(node, "indices").named_children
    return indices[0] if len(indices) == 1 else None


def _compares(node: Node) -> bool:
    """A comparison of places: what is compared with 0.0f is a value."""
    if node.type != "binary_expression" or symbol(node) not in (*COMPARISONS, "=="):
        return False
    right = field(node, "right")
    return right.type != "number_literal" or b"." not in (right.text or b"")


def _root_name(source: KernelSource, node: Node) -> str:
    """The variable that `sum`, `sum[i][j]` or `run.sum` is about."""
    while node.type in ("array_declarator", "subscript_expression", "field_expression", "pointer_declarator"):
        inner = node.child_by_field_name("declarator") or node.child_by_field_name("argument")
        if inner is None:
            break
        node = inner
    return source.text(node)


def _gathered(source: KernelSource) -> set[str]:
    """Variables to which something is added, or of which a running maximum is kept."""
    found = set()
    for node in source.nodes("assignment_expression"):
        name = _root_name(source, field(node, "left"))
        right = source.text(field(node, "right"))
        if symbol(node) in ("+=", "*=") or (
            symbol(node) == "=" and re.search(rf"\b{re.escape(name)}\b", right)
        ):
            found.add(name)
    for _, given in source.calls("atomicAdd", "atomicMax"):
        if given:
            found.add(_root_name(source, given[0].named_children[0] if given[0].named_children else given[0]))
    # if (v > best) best = v: compared with itself.
    found |= set(re.findall(r"if \([^()]*> (\w+)\)", source.data.decode()))
    return found


def _constant(source: KernelSource, value: Node) -> bool:
    return value.type in ("number_literal", "initializer_list") or source.text(value) in LOWEST


def _float_names(source: KernelSource) -> set[str]:
    """Variables declared as float (arrays of it too)."""
    found = set()
    for node in source.nodes("declaration"):
        kind = node.child_by_field_name("type")
        if kind is not None and source.text(kind) == "float":
            for declared in node.children_by_field_name("declarator"):
                inner = (
                    declared.child_by_field_name("declarator") if declared.type == "init_declarator" else None
                )
                if "*" not in source.text(inner or declared):
                    found.add(_root_name(source, inner or declared))
    return found


def _within_index(source: KernelSource, node: Node) -> bool:
    """Whether it stands in [...]."""
    around: Node | None = node
    while around is not None and not around.type.endswith("statement"):
        if around.type == "subscript_argument_list":
            return True
        around = around.parent
    return False


def _is_index(source: KernelSource, node: Node) -> bool:
    """Whether an expression computes a place: it stands in [...], is added to a pointer, or becomes an integer."""
    if _within_index(source, node):
        return True
    whole = inside(node, "declaration", "expression_statement", "for_statement", "field_declaration")
    if whole is None:
        return True
    if whole.type == "declaration":
        words = source.text(whole)
        whole_number = re.match(r"(const |constexpr |static )*(int|size_t|unsigned|long|auto|bool)\b", words)
        return whole_number is not None or "*" in words.split("=")[0]
    return "size_t" in source.text(node) or whole.type == "for_statement"
