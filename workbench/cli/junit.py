"""`verify --junit FILE`: a run as JUnit XML, one test case a candidate, for the systems that show such files.

All of it may be a candidate's words, so what XML 1.0 cannot carry is written visibly (`\\x1b`), never dropped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from workbench import __version__
from workbench.cli.requirements import Answered, missed
from workbench.core.errors import UsageError
from workbench.core.explain import explain_verdict
from workbench.core.verdict import Verdict

_NOT_XML = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ENDED = "The run was ended before this was judged."
_MESSAGE = 1_000
_TEXT = 20_000


@dataclass
class Reached:
    """How far a run came, kept where an exception that ends it cannot take it away."""

    verdicts: list[Verdict] = field(default_factory=list)
    answers: dict[int, list[Answered]] = field(default_factory=dict)
    """To the requirements, by the verdict's place in `verdicts`."""


class JUnitFile:
    """Where the report goes. A report lies there before anything is judged, so that a wrong path costs no verdict, and
    a run that is killed leaves neither an empty file nor an earlier run's."""

    def __init__(self, path: Path, task: str, paths: Sequence[str]) -> None:
        """A report in which nothing is judged yet.

        Args:
            task: its name.
            paths: the candidates', in their order.

        Raises:
            UsageError: `path` cannot be written.
        """
        self._path, self._task, self._paths = path, task, paths
        try:
            # A pipe or a device is written once, at the end; what a link leads to is not ours to replace.
            self._once = path.is_symlink() or (path.exists() and not path.is_file())
            if self._once and not path.is_fifo():  # its reader would take the closing for the end
                with path.open("ab"):
                    pass
        except (OSError, ValueError) as error:
            raise self._refused(error) from None
        if not self._once:
            self.write(Reached())

    def write(self, reached: Reached, why: str = ENDED) -> None:
        """Write a case for each candidate.

        Args:
            reached: the verdicts of the first candidates.
            why: no other has one.

        Raises:
            UsageError: the file cannot be written.
        """
        done = reached.verdicts
        cases = [_case(self._task, verdict, reached.answers.get(n, ())) for n, verdict in enumerate(done)]
        for path in self._paths[len(done) :]:
            case = ElementTree.Element(
                "testcase", classname=clean(self._task), name=clean(path), time="0.000"
            )
            ElementTree.SubElement(case, "error", type="error", message=_line(why))
            cases.append(case)
        shared = {**done[0].versions} if done else {"workbench": __version__}
        self._write(cases, shared, sum(v.seconds.total for v in done))

    def _write(self, cases: list[ElementTree.Element], versions: dict[str, str], seconds: float) -> None:
        counts = {
            "tests": str(len(cases)),
            "failures": str(sum(case.find("failure") is not None for case in cases)),
            "errors": str(sum(case.find("error") is not None for case in cases)),
            "skipped": "0",
            "time": f"{seconds:.3f}",
        }
        root = ElementTree.Element("testsuites", {"name": "workbench verify", **counts})
        suite = ElementTree.SubElement(root, "testsuite", {"name": clean(self._task), **counts})
        _properties(suite, {f"version.{name}": version for name, version in versions.items()})
        suite.extend(cases)
        data = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
        try:
            self._put(data + b"\n")
        except (OSError, ValueError) as error:
            raise self._refused(error) from None

    def _put(self, data: bytes) -> None:
        """All of it or nothing: who reads the file meanwhile, or after a kill or a full disk, finds a whole report."""
        if self._once or (self._path.exists() and not os.access(self._path.parent, os.W_OK)):
            self._path.write_bytes(data)
            return
        temporary = self._path.with_name(f".{os.getpid()}.junit.tmp")
        try:
            if self._path.exists():
                with self._path.open("ab"):  # raises where it is read-only, which replacing it would overlook
                    pass
                temporary.touch()
                shutil.copymode(self._path, temporary)
            temporary.write_bytes(data)
            try:
                temporary.replace(self._path)
            except OSError:  # a file that is mounted on its own, as into a container
                self._path.write_bytes(data)
        finally:
            temporary.unlink(missing_ok=True)

    def _refused(self, error: OSError | ValueError) -> UsageError:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return UsageError(f"{self._path} cannot be written: {why}.", do="Name another file for --junit.")


def clean(text: str) -> str:
    """`text` with what XML 1.0 does not allow, and other control characters, written as `\\x1b` or `\\udc80`."""
    return _NOT_XML.sub(lambda found: _visible(ord(found[0])), text)


def _visible(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _line(text: str) -> str:
    return clean(" ".join(text.split()))[:_MESSAGE]


def _case(task: str, verdict: Verdict, answers: Sequence[Answered]) -> ElementTree.Element:
    name = verdict.candidate.path or verdict.candidate.id
    case = ElementTree.Element(
        "testcase", classname=clean(task), name=clean(name), time=f"{verdict.seconds.total:.3f}"
    )
    properties = {
        "outcome": verdict.outcome,
        "target": verdict.target,
        "arch": str(verdict.device.get("arch", "")),
        "device": str(verdict.device.get("name", "")),
        "task.fingerprint": verdict.task.fingerprint,
        "candidate.sha256": verdict.candidate.sha256,
        "seeds": " ".join(map(str, verdict.seeds)),
    }
    properties |= {f"version.{name}": version for name, version in verdict.versions.items()}
    properties |= {f"requirement.{a.require}": "met" if a.met else "missed" for a in answers}
    _properties(case, properties)
    if verdict.outcome == "error":
        ElementTree.SubElement(case, "error", type="error", message=_line(verdict.reason))
    elif verdict.outcome == "fail":
        gate = clean(verdict.failed_gate or "")
        failure = ElementTree.SubElement(
            case, "failure", type=gate, message=_line(f"{gate}: {verdict.reason}")
        )
        failure.text = _explained(verdict)
    elif wrong := missed(answers):
        said = [f"{a.require}: {a.reason}" for a in wrong]
        failure = ElementTree.SubElement(case, "failure", type="requirement", message=_line("; ".join(said)))
        failure.text = clean("Right, but a requirement is missed.\n" + "\n".join(said))
    out = ElementTree.SubElement(case, "system-out")
    out.text = clean("\n".join([verdict.first_line, *(f"unchecked: {u}" for u in verdict.unchecked)]))[:_TEXT]
    return case


def _explained(verdict: Verdict) -> str:
    lines = [verdict.reason]
    explanation = explain_verdict(verdict)
    if explanation is not None:
        lines += [f"means: {explanation.means}", f"matters: {explanation.matters}", f"fix: {explanation.fix}"]
    for gate in verdict.gates:
        if gate.name == verdict.failed_gate and gate.evidence:
            lines.append(f"evidence: {json.dumps(gate.evidence, ensure_ascii=False, default=str)}")
    return clean("\n".join(lines))[:_TEXT]


def _properties(parent: ElementTree.Element, values: Mapping[str, str]) -> None:
    properties = ElementTree.SubElement(parent, "properties")
    for name, value in values.items():
        ElementTree.SubElement(properties, "property", name=clean(name), value=clean(value))
