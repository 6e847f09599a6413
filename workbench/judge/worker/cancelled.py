"""The one way out of a gate that is nobody's fault."""

from __future__ import annotations


class Cancelled(BaseException):
    """The client no longer wants this verdict. No Exception, so that no gate can swallow it."""
