"""What an operator gets when no further attempt is worth it: everything that was tried, and how to go on."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Any

import msgspec

from agents.razar.attempts import Failure
from agents.razar.disclosure.redaction_report import reports_of
from agents.razar.patching import journal, record
from agents.razar.patching.refusal import Refusal
from agents.razar.records.trail import Series
from agents.razar.worth import issue_of
from razar.config.model import Component, MissionConfig
from razar.utils import files
from razar.utils.encoding import encode_json
from razar.utils.redaction import neutralise, redact
from razar.utils.times import file_stamp, utc

__all__ = ["tail_of", "write_packet"]

#: Bytes at the end of a component's log that go into the packet, and lines of them.
_LOG = 64 * 1024
_LINES = 200
#: Bytes of a line of the log of patches, and of a report beside a patch.
_RECORD = 4 << 20
#: What a packet says is for people: longer texts are in the files that it names.
_TEXT = 8_000


def write_packet(
    component: Component,
    config: MissionConfig,
    *,
    logs: str,
    failure: Failure | None,
    series: Series,
    budget: dict[str, Any],
) -> str:
    """Write ``packet.md`` and ``packet.json`` into a folder of their own below ``repairs``; return it."""
    since = min((float(record.get("timestamp") or 0.0) for record in series.attempts), default=time.time())
    first = (
        since - max((float(record.get("seconds") or 0.0) for record in series.attempts), default=0.0) - 1.0
    )
    packet = _packet(component, config, logs, failure, series, budget, first)
    folder = base = os.path.join(logs, "repairs", f"packet-{component.id}-{file_stamp(time.time())}")
    number = 2
    while True:
        try:
            os.makedirs(folder, mode=0o750)
            break
        except FileExistsError:
            folder, number = f"{base}-{number}", number + 1
    files.replace(os.path.join(folder, "packet.json"), msgspec.json.format(encode_json(packet)))
    files.replace(os.path.join(folder, "packet.md"), _markdown(packet).encode("utf-8", "backslashreplace"))
    return folder


def _packet(
    component: Component,
    config: MissionConfig,
    logs: str,
    failure: Failure | None,
    series: Series,
    budget: dict[str, Any],
    since: float,
) -> dict[str, Any]:
    error = (
        failure.error if failure is not None else str(series.attempts[-1]["error"]) if series.attempts else ""
    )
    tail = list(failure.tail) if failure is not None and failure.tail else tail_of(logs, component.id)
    issue = issue_of(error, tail)
    patches = _patches(logs, component.id, since)
    scope = component.repair
    return {
        "schema": 1,
        "mission": config.mission,
        "component": component.id,
        "layer": component.layer,
        "written": utc(time.time()),
        "error": redact(error)[:_TEXT],
        "class": issue.name,
        "cause": issue.message,
        "remediation": issue.remediation,
        "attempts": list(series.attempts),
        "patches": patches,
        "waiting": [id for id in dict.fromkeys(str(patch.get("id")) for patch in patches) if _waits(logs, id)],
        "handovers": [msgspec.to_builtins(report) for report in reports_of(logs, component.id, since)],
        "budget": budget,
        "protection": _protection(logs, patches),
        "repair": None if scope is None else {
            "paths": list(scope.paths),
            "tests": [redact(" ".join(test)) for test in scope.tests],
            "approval": scope.approval,
        },
        "log": [neutralise(redact(line))[:1000] for line in tail[-_LINES:]],
    }  # fmt: skip


def tail_of(logs: str, component: str) -> list[str]:
    """The last lines of a component's log."""
    try:
        with open(os.path.join(logs, "components", component, "current.log"), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG))
            return file.read(_LOG).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _patches(logs: str, component: str, since: float) -> list[dict[str, Any]]:
    """The records of patches of a component since an instant."""
    found: deque[dict[str, Any]] = deque(maxlen=200)
    try:
        for _, line, _ in files.iterate_lines(os.path.join(logs, record.FILE_NAME), _RECORD):
            try:
                entry = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if isinstance(entry, dict) and entry.get("component") == component:
                at = entry.get("timestamp")
                if isinstance(at, int | float) and at >= since:
                    found.append(entry)
    except OSError:
        pass
    return list(found)


def _waits(logs: str, id: str) -> bool:
    """Whether an operator is still asked about a patch."""
    try:
        return journal.state_of(logs, id) == "proposed" and journal.load(logs, id).waits
    except (Refusal, OSError):
        return False


def _protection(logs: str, patches: list[dict[str, Any]]) -> dict[str, Any]:
    """What was in force when the last patch was tested; empty if none was."""
    for entry in reversed(patches):
        try:
            path = os.path.join(logs, "repairs", os.path.basename(str(entry.get("id"))), "report.json")
            report = msgspec.json.decode(files.read_limited(path, _RECORD) or b"")
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(report, dict) and isinstance(report.get("protection"), dict) and report["protection"]:
            return dict(report["protection"])
    return {}


def _markdown(packet: dict[str, Any]) -> str:
    id = packet["component"]
    lines = [
        f"# {id} could not be repaired",
        "",
        f"Mission {packet['mission']}, layer {packet['layer']}, {packet['written']}.",
        "",
        "## The failure",
        "",
        *_fenced(packet["error"] or "(no error text)"),
        "",
        f"Class {packet['class']}: {_inline(packet['cause'])}",
        f"What helps against this class: {packet['remediation']}",
        "",
        "## What was tried",
        "",
    ]
    if packet["attempts"]:
        lines += ["| attempt | agent | patched | seconds | patch | reason |", "|---|---|---|---|---|---|"]
        lines += [_row(record) for record in packet["attempts"]]
    else:
        lines.append("Nothing: no agent was asked.")
    for patch in packet["patches"]:
        lines += ["", f"### Patch {patch.get('id')}: {patch.get('status')}, by {patch.get('agent')}", ""]
        lines += [_inline(str(patch.get("reason"))), ""]
        lines += [
            f"- `{_inline(str(t.get('command')))}`: exit {t.get('exit')}" for t in patch.get("tests") or ()
        ]
        lines += ["", *_fenced(str(patch.get("diff") or ""), "diff")]
    lines += ["", "## What left the machine", ""]
    lines += [_left(report) for report in packet["handovers"]] or ["Nothing."]
    lines += ["", "## Protection and budget", ""]
    protection = packet["protection"]
    lines.append(
        "The tests of patches ran with: "
        + ", ".join(f"{key} {value}" for key, value in sorted(protection.items()))
        if protection
        else "No patch was tested."
    )
    used, limits = packet["budget"]["used"], packet["budget"]["limits"]
    lines.append("Used: " + ", ".join(f"{used[name]} of {limits[name]} {name}" for name in used) + ".")
    lines += ["", "## The end of the log", "", *_fenced("\n".join(packet["log"]) or "(empty)")]
    lines += ["", "## How to go on", "", *_how_to_go_on(packet)]
    return "\n".join(lines) + "\n"


def _how_to_go_on(packet: dict[str, Any]) -> list[str]:
    id = packet["component"]
    waiting = packet["waiting"]
    steps = [
        f"- Look at a patch that waits: `razar repairs show {one}`, then approve or reject it."
        for one in waiting
    ]
    steps += [
        "- Repair it by hand, then let it start again: `razar quarantine release " + id + "`.",
        f"- What it wrote: `razar logs {id}`.",
        "- Agents were stopped by a breaker or a pause: `razar repairs resume`.",
    ]
    if packet["repair"] is None or not packet["repair"]["paths"]:
        steps.append(
            f"- Allow agents to change its files: `repair.paths` of {id} in the mission's configuration."
        )
    return steps


def _row(record: dict[str, Any]) -> str:
    cells = [record.get(key, "") for key in ("attempt", "agent", "patched", "seconds", "patch_id", "reason")]
    return "| " + " | ".join(_inline(str(cell))[:500] for cell in cells) + " |"


def _left(report: dict[str, Any]) -> str:
    parts = report["sent"] or report["given"]
    size = sum(part["size"] for part in parts)
    what = ", ".join(part["what"] for part in parts[:12])
    return (
        f"- {report['began']} to {report['agent']} ({report['endpoint']}): {size} bytes in {len(parts)} parts "
        f"({_inline(what)}), {report['masked']} places masked, {report['outcome']}: "
        f"`repairs/handovers/{report['id']}.json`"
    )


def _inline(text: str) -> str:
    """Text of strangers on one line of Markdown, without meaning to it."""
    flat = neutralise(redact(" ".join(text.split())))
    return flat.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def _fenced(text: str, language: str = "") -> list[str]:
    longest = max((len(run) for run in text.split() if set(run) == {"`"}), default=2)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", *(neutralise(line) for line in redact(text).splitlines()), fence]
