"""A candidate's file taken apart into plan and device code, and put together from what people and models write."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import msgspec

from workbench.core.plan import Diagnostic, PlanFailure
from workbench.dialect.lexer import PLAN_END, plans
from workbench.dialect.tokens import token_hash

__all__ = ["CandidateSource", "from_answer", "from_file", "join", "split", "token_hash"]

MAX_BYTES = 4 << 20
"""Of a candidate's file. The largest kernels that people write by hand are below 0.2 MiB."""
MAX_PLAN_CHARS = 128 << 10
"""Of a plan. Also keeps Python's own parser, which has no limit, within its stack."""

_SKELETON_HINT = "`workbench dialect` prints a skeleton."


class CandidateSource(msgspec.Struct, frozen=True):
    """A candidate's two halves; positions in both are the file's own."""

    plan: str
    """Python, the lines between the markers."""
    plan_line: int
    """Line of the plan's first line in the file, 1-based."""
    device: str
    """The whole file with the plan's characters blanked, lines ending in a bare newline."""
    sha256: str
    """Of the file's bytes, hexadecimal."""


def split(data: bytes) -> CandidateSource | PlanFailure:
    """Take a candidate's file apart; whatever is wrong with it is a failure with its line, never an exception."""
    text = _decode(data)
    if isinstance(text, PlanFailure):
        return text
    blocks = plans(text)
    if not blocks:
        return _no_plan(text)
    start, end = blocks[0]
    line = text.count("\n", 0, start) + 1
    body, closed = text[start:end], text[start:end].endswith(PLAN_END)
    if not closed:
        return _fail(_unterminated(body), line)
    if len(blocks) > 1:
        second = text.count("\n", 0, blocks[1][0]) + 1
        message = (
            f"A second plan; the first begins in line {line}. Exactly one /*@plan ... @*/ block is allowed."
        )
        return _fail(message, second)
    first, newline, plan = body[: -len(PLAN_END)].partition("\n")
    if first.split("@plan", 1)[1].strip():
        return _fail("Something follows /*@plan on its line; the plan begins on the next line.", line)
    if not newline or not plan.strip():
        return _fail(f"The plan is empty. {_SKELETON_HINT}", line)
    if len(plan) > MAX_PLAN_CHARS:
        return _fail(f"The plan has {len(plan):,} characters; at most {MAX_PLAN_CHARS:,} are read.", line)
    blank = re.sub(r"[^\n]", " ", body)
    device = text[:start] + blank + text[end:]
    return CandidateSource(plan, line + 1, device, hashlib.sha256(data).hexdigest())


def join(cuda: str, plan: str) -> str:
    """One candidate from the pair `x.cu` and `x.plan.py`."""
    return f"/*@plan\n{plan.strip(chr(10))}\n{PLAN_END}\n{cuda}"


def from_file(name: str, data: bytes, beside: Callable[[], bytes | None]) -> bytes:
    """The candidate that a person's file holds, whoever reads it.

    That is the file itself; of a model's answer (`.md`) the candidate in it; and where the file has no plan of its own
    (one in a comment or a string is none), the file joined with the plan beside it. What is no text stays as it is:
    `parse` says so with the byte's place.

    Args:
        name: the file's, or its path.
        beside: reads the plan beside it; None where there is none. Called only where it is needed.
    """
    if name.endswith(".md"):
        answer = from_answer(data.decode(errors="replace"))
        return data if answer is None else answer.encode()
    try:
        text = data.decode().removeprefix("\ufeff")
        if _has_plan(_newlines(text)) or (plan := beside()) is None:
            return data
        return join(text, plan.decode().removeprefix("\ufeff")).encode()
    except UnicodeDecodeError:
        return data


_FENCE = re.compile(r"^[ \t]{0,3}(?P<ticks>`{3,}|~{3,})[ \t]*(?P<language>[\w+#-]*)[^\n]*\n", re.MULTILINE)
_PYTHON = frozenset({"python", "py", "python3", "plan"})
_CUDA = frozenset({"cuda", "cu", "cpp", "c++", "cuda-cpp", "cuda-c++", "c", "cxx"})


def from_answer(markdown: str) -> str | None:
    """The candidate in a model's answer: one CUDA fence that holds a plan, or one Python and one CUDA fence.

    None where there is no such thing, or more than one way to read the answer.
    """
    text = _newlines(markdown)
    cuda, python = [], []
    for language, body in _fences(text):
        if language in _CUDA or (not language and _has_plan(body)):
            cuda.append(body)
        elif language in _PYTHON and re.search(r"^[ \t]*def forward\b", body, re.MULTILINE):
            python.append(body)
    whole = [body for body in cuda if _has_plan(body)]
    if len(whole) == 1:
        return whole[0]
    if not whole and len(cuda) == 1 and len(python) == 1:
        return join(cuda[0], python[0])
    if not cuda and not python and _has_plan(text):
        return text  # the bare file, without fences
    return None


def _fences(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position = 0
    while match := _FENCE.search(text, position):
        closing = re.compile(rf"^[ \t]{{0,3}}{match['ticks']}[`~]*[ \t]*$", re.MULTILINE).search(
            text, match.end()
        )
        end = closing.start() if closing else len(text)
        found.append((match["language"].lower(), text[match.end() : end]))
        position = closing.end() if closing else len(text)
    return found


def _has_plan(text: str) -> bool:
    return bool(plans(text))


def _newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decode(data: bytes) -> str | PlanFailure:
    if len(data) > MAX_BYTES:
        return _fail(f"The file has {len(data) / 2**20:.1f} MiB; at most {MAX_BYTES >> 20} MiB are read.")
    if not data.strip():
        return _fail(f"The file is empty. {_SKELETON_HINT}")
    if (zero := data.find(b"\0")) >= 0:
        return _fail("The file holds a NUL byte, so it is no source text.", data.count(b"\n", 0, zero) + 1)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        return _fail(f"Byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8.", line, column)
    return _newlines(text.removeprefix("\ufeff"))


def _no_plan(text: str) -> PlanFailure:
    message = "The file has no plan (a /*@plan ... @*/ block that says what to allocate and launch)."
    if "@plan" in text:
        line = text.count("\n", 0, text.index("@plan")) + 1
        return _fail(f"{message} The one here stands in a line comment or a string.", line)
    if re.search(r"PYBIND11_MODULE|TORCH_LIBRARY|torch::Tensor|load_inline|<torch/extension.h>", text):
        message += " A candidate has no host code: replace the torch binding by a plan."
    elif "<<<" in text:
        message += " A candidate has no host code: replace the <<<...>>> launch by a plan."
    return _fail(f"{message} {_SKELETON_HINT}")


def _unterminated(body: str) -> str:
    message = "The plan is not terminated: it ends with @*/"
    closing = body.find("*/")
    return (
        f"{message}, here it seems to end with a plain */."
        if closing >= 0
        else f"{message}, which is missing."
    )


def _fail(message: str, line: int = 0, column: int = 0) -> PlanFailure:
    return PlanFailure((Diagnostic(message, line, column),))
