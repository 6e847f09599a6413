"""What a candidate says, whatever its layout: equal hashes mean a duplicate."""

from __future__ import annotations

import hashlib
import io
import tokenize
from collections.abc import Iterator

from workbench.dialect.lexer import PLAN_END, lex

MAX_BYTES = 512 << 10
"""Files over this hash as their bytes: nobody writes such kernels, and a hostile one would cost seconds."""


def token_hash(data: bytes) -> str:
    """SHA-256 (hexadecimal) over the tokens of plan and device code, without comments, white space and formatting.

    A file that is no text, or is over 512 KiB, hashes as its bytes.
    """
    if len(data) > MAX_BYTES:
        return hashlib.sha256(b"raw" + data).hexdigest()
    try:
        text = data.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        return hashlib.sha256(b"raw" + data).hexdigest()
    return hashlib.sha256(b"tokens" + "\0".join(_tokens(text)).encode()).hexdigest()


def _tokens(text: str) -> Iterator[str]:
    plans: list[str] = []
    directive = False
    fresh = True
    for kind, start, end in lex(text):
        if kind == "plan":
            plans.append(text[start:end])
        elif kind == "newline":
            if directive:  # a directive ends with its line, so the line break says something
                yield "\n"
            directive, fresh = False, True
        elif kind != "comment":
            token = text[start:end]
            if fresh and token == "#":
                directive = True
                yield "\n"
            fresh = False
            yield token
    for plan in plans:
        yield "@plan"
        yield from _python_tokens(plan.removesuffix(PLAN_END).partition("\n")[2])


_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}


def _python_tokens(plan: str) -> Iterator[str]:
    """Tokens of a plan, blocks as "{" and "}" in place of their depth. `tokenize` needs no stack, `ast` does."""
    found: list[str] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(plan).readline):
            if token.type in _LAYOUT:
                continue
            by_type = {tokenize.NEWLINE: "\n", tokenize.INDENT: "{", tokenize.DEDENT: "}"}
            found.append(by_type.get(token.type, token.string))
    except (tokenize.TokenError, SyntaxError):
        yield plan  # no Python: compared as it stands
        return
    yield from found
