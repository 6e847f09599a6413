"""A kernel's syntax tree, and an edit of it: what every mutation operator works on."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tree_sitter_cuda
from tree_sitter import Language, Node, Parser


@dataclass(frozen=True)
class Edit:
    """Bytes `start` to `end` of a file become `text`."""

    start: int
    end: int
    text: str


@functools.cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_cuda.language()))


class KernelSource:
    """One honest candidate, parsed; positions are bytes of the whole file."""

    def __init__(self, name: str, data: bytes) -> None:
        """`name` is "task/file"; the device code may hold macros that the grammar does not know."""
        self.name = name
        self.data = data
        self.root = _parser().parse(data).root_node
        found = re.search(rb"/\*@plan\n(.*?)@\*/", data, re.DOTALL)
        assert found is not None, name
        self.plan_start = found.start(1)
        self.plan = found.group(1).decode()

    def text(self, node: Node) -> str:
        """The source of a node."""
        return self.data[node.start_byte : node.end_byte].decode()

    def line(self, at: int) -> int:
        """The line of a byte, 1-based."""
        return self.data.count(b"\n", 0, at) + 1

    def errors(self) -> int:
        """Nodes that the grammar did not understand."""
        return sum(1 for node in self.nodes() if node.is_error or node.is_missing)

    def nodes(self, *types: str) -> Iterator[Node]:
        """All nodes of these types (all nodes where none is given) outside of comments, in the file's order."""
        stack = [self.root]
        while stack:
            node = stack.pop()
            if not types or node.type in types:
                yield node
            stack.extend(reversed(node.children))

    def calls(self, *names: str) -> Iterator[tuple[Node, list[Node]]]:
        """Calls of these functions with their arguments."""
        for node in self.nodes("call_expression"):
            function = node.child_by_field_name("function")
            if function is not None and self.text(function) in names:
                yield node, arguments(node)

    def plan_calls(self, *names: str) -> Iterator[tuple[ast.Call, int, int]]:
        """Calls of these names in the plan, with the bytes where they begin and end."""
        starts = [0]
        for line in self.plan.splitlines(keepends=True):
            starts.append(starts[-1] + len(line.encode()))
        for node in ast.walk(ast.parse(self.plan)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                assert node.end_lineno is not None and node.end_col_offset is not None
                begin = self.plan_start + starts[node.lineno - 1] + node.col_offset
                yield node, begin, self.plan_start + starts[node.end_lineno - 1] + node.end_col_offset

    def edited(self, edit: Edit) -> bytes:
        """The file with one edit made."""
        return self.data[: edit.start] + edit.text.encode() + self.data[edit.end :]


Operator = Callable[[KernelSource], Iterator[Edit]]
"""Yields every place at which the mistake can be made in a kernel."""


def arguments(call: Node) -> list[Node]:
    """The arguments of a call, comments left out."""
    found = call.child_by_field_name("arguments")
    return [n for n in found.named_children if n.type != "comment"] if found is not None else []


def replaced(node: Node, text: str) -> Edit:
    """An edit that puts `text` in a node's place."""
    return Edit(node.start_byte, node.end_byte, text)


def field(node: Node, name: str) -> Node:
    """A child that the grammar promises."""
    found = node.child_by_field_name(name)
    assert found is not None, (node.type, name)
    return found


def symbol(node: Node) -> str:
    """The operator of a binary expression or an assignment."""
    return field(node, "operator").type


def conjuncts(condition: Node) -> list[Node]:
    """The parts of `a && b && c`; the condition itself where it is no conjunction."""
    if condition.type == "parenthesized_expression":
        return conjuncts(condition.named_children[0])
    if condition.type == "binary_expression" and symbol(condition) == "&&":
        return [*conjuncts(field(condition, "left")), *conjuncts(field(condition, "right"))]
    return [condition]


def inside(node: Node, *types: str) -> Node | None:
    """The nearest node around this one that is of one of these types."""
    around = node.parent
    while around is not None and around.type not in types:
        around = around.parent
    return around
