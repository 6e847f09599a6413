"""`verify --junit FILE`: a run as JUnit XML, one test case a candidate, for the systems that show such files.

All of it may be a candidate's words, so what XML 1.0 cannot carry is written visibly (`\\x1b`), never dropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from workbench import __version__
from workbench.cli.requirements import Answered, missed
from workbench.core.errors import UsageError
from workbench.core.explain import explain_verdict
from workbench.core.verdict import Verdict

_NOT_XML = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MESSAGE = 1_000
_TEXT = 20_000


class JUnitFile:
    """Where the report goes; asked for before anything is judged, so that a wrong path costs no verdict."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError where `path` cannot be written."""
        self._path = path
        try:
            with path.open("ab"):
                pass
        except (OSError, ValueError) as error:
            raise self._refused(error) from None

    def write(
        self, task: str, verdicts: Sequence[Verdict], answers: Mapping[int, Sequence[Answered]]
    ) -> None:
        """Write all verdicts of a run.

        Args:
            task: its name.
            answers: to the requirements, by the verdict's place in `verdicts`.

        Raises:
            UsageError: the file cannot be written.
        """
        cases = [_case(task, verdict, answers.get(n, ())) for n, verdict in enumerate(verdicts)]
        shared = {**verdicts[0].versions} if verdicts else {"workbench": __version__}
        self._write(task, cases, shared, sum(v.seconds.total for v in verdicts))

    def write_unjudged(self, task: str, paths: Sequence[str], reason: str) -> None:
        """Write an error for each candidate: the task or the judge is broken.

        Raises:
            UsageError: the file cannot be written.
        """
        cases = []
        for path in paths:
            case = ElementTree.Element("testcase", classname=clean(task), name=clean(path), time="0.000")
            ElementTree.SubElement(case, "error", type="error", message=_line(reason))
            cases.append(case)
        self._write(task, cases, {"workbench": __version__}, 0.0)

    def _write(
        self, task: str, cases: list[ElementTree.Element], versions: dict[str, str], seconds: float
    ) -> None:
        counts = {
            "tests": str(len(cases)),
            "failures": str(sum(case.find("failure") is not None for case in cases)),
            "errors": str(sum(case.find("error") is not None for case in cases)),
            "skipped": "0",
            "time": f"{seconds:.3f}",
        }
        root = ElementTree.Element("testsuites", {"name": "workbench verify", **counts})
        suite = ElementTree.SubElement(root, "testsuite", {"name": clean(task), **counts})
        _properties(suite, {f"version.{name}": version for name, version in versions.items()})
        suite.extend(cases)
        data = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
        try:
            self._path.write_bytes(data + b"\n")
        except OSError as error:
            raise self._refused(error) from None

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
