"""The handshake with Crown: the brief goes out, an acknowledgement comes back or a reason why not."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Literal

import msgspec

from razar.config.model import CrownSettings
from razar.crown.briefs import archive_brief, archive_response
from razar.crown.dialogues import Dialogues, FrameMask, mask_values
from razar.crown.judgement import has_capability, judge
from razar.crown.protocol import (
    MAX_FRAME,
    FrameError,
    brief_frame,
    check_brief,
    decode,
    encode,
)
from razar.crown.result import Downtime, Handshake
from razar.utils.files import read_limited, why
from razar.utils.redaction import Redactor
from razar.utils.times import utc

__all__ = ["Downtime", "Handshake", "agree", "has_capability", "main", "perform"]


async def agree(
    settings: CrownSettings,
    brief: Mapping[str, Any],
    *,
    mission: str,
    boot_id: str,
    logs: str,
    components: Collection[str],
    token: str | None,
    environ: Mapping[str, str],
    lifetime: AsyncExitStack,
    traceparent: str | None = None,
) -> Handshake:
    """Agree a mission with the configured Crown, or with the embedded one if there is none.

    The embedded Crown is entered into ``lifetime`` and serves until that is closed. The other
    arguments and the outcome are those of :func:`perform`.
    """
    if settings.url is None and settings.policy != "off":
        from razar.crown_embedded import embedded_crown, servant_names

        try:
            crown = await lifetime.enter_async_context(embedded_crown(capabilities=servant_names(environ)))
        except OSError as error:
            return Handshake(status="unreachable", reason=f"the embedded Crown cannot listen: {why(error)}")
        settings = msgspec.structs.replace(settings, url=crown.url)
        token = crown.token
    return await perform(
        settings,
        brief,
        mission=mission,
        boot_id=boot_id,
        logs=logs,
        components=components,
        token=token,
        environ=environ,
        traceparent=traceparent,
    )


async def perform(
    settings: CrownSettings,
    brief: Mapping[str, Any],
    *,
    mission: str,
    boot_id: str,
    logs: str,
    components: Collection[str],
    token: str | None,
    environ: Mapping[str, str],
    traceparent: str | None = None,
) -> Handshake:
    """Send a brief to the Crown at ``settings.url`` and return what became of it.

    ``logs`` is the folder of the brief archive and the dialogues, ``components`` the ids of the
    mission, ``environ`` tells whether plaintext is allowed and which values are secret. Whatever
    Crown or the network does is an outcome; nothing of it raises. ``policy`` ``off`` sends nothing.
    """
    if settings.policy == "off":
        return Handshake(status="offline", reason="the policy for Crown is off")
    from razar.crown.client import ask, parse_url
    from razar.crown.no_answer import NoAnswerError

    if not settings.url:
        return Handshake(status="unreachable", reason="no URL of a Crown is configured")
    try:
        target = parse_url(settings.url)
    except ValueError as error:
        return Handshake(status="unreachable", reason=f"the URL of Crown is not valid: {error}")
    redactor = Redactor(environ)
    redactor.learn([token or "", *(target.userinfo or ())])
    record = _Record(logs, redactor, mission=mission, boot_id=boot_id, url=target.shown, exempt=components)
    try:
        if not (target.secure or target.loopback or environ.get("CROWN_ALLOW_PLAINTEXT") == "1"):
            raise NoAnswerError(
                f"{target.shown} would carry the mission brief unencrypted: use wss://, "
                "or set CROWN_ALLOW_PLAINTEXT=1"
            )
        now = time.time()
        frame = brief_frame(brief, mission=mission, boot_id=boot_id, sent_at=now)
        question = _question(frame)
        record.archive(now, frame)
        raw = await ask(
            target,
            question,
            token=token,
            traceparent=traceparent,
            timeout=settings.timeout,
            sent=lambda: record.dialogue("sent", question.decode()),
        )
        record.dialogue("received", raw)
        answer = decode(raw)
        outcome = judge(answer, known=components, now=time.time())
        record.response(answer)
    except NoAnswerError as error:
        outcome = Handshake(status=error.status, reason=str(error))
        record.response({"status": outcome.status, "reason": outcome.reason})
    except FrameError as error:
        outcome = Handshake(status="refused", reason=f"Crown's answer is malformed: {error}")
        record.response({"status": outcome.status, "reason": outcome.reason})
    outcome = msgspec.structs.replace(outcome, url=target.shown, warnings=(*outcome.warnings, *record.faults))
    # Crown knows our token: an answer that repeats it must not carry it into logs and state.
    return msgspec.convert(mask_values(msgspec.to_builtins(outcome), redactor), Handshake)


def _question(frame: Mapping[str, Any]) -> bytes:
    from razar.crown.no_answer import NoAnswerError

    fault = check_brief(frame)
    if fault is not None:
        raise NoAnswerError(f"the mission brief cannot be sent: {fault}")
    try:
        return encode(frame)
    except FrameError as error:
        raise NoAnswerError(f"the mission brief cannot be sent: {error}") from None


class _Record:
    """Writes down what was said. A file that cannot be written is a fault to tell, never a failure."""

    def __init__(
        self,
        logs: str,
        redactor: Redactor,
        *,
        mission: str,
        boot_id: str,
        url: str,
        exempt: Collection[str],
    ) -> None:
        self.faults: list[str] = []
        self._mission = mission
        self._folder = os.path.join(logs, "mission_briefs")
        self._brief: str | None = None
        self._redactor = redactor
        self._exempt = exempt
        self._dialogues = Dialogues(
            os.path.join(logs, "razar_crown_dialogues.jsonl"),
            redactor=redactor,
            mission=mission,
            boot_id=boot_id,
            url=url,
            exempt=exempt,
        )

    def archive(self, at: float, frame: Mapping[str, Any]) -> None:
        try:
            masked = mask_values(dict(frame), self._redactor)
            self._brief = archive_brief(self._folder, self._mission, at, masked)
        except OSError as error:
            self.faults.append(f"the mission brief could not be archived in {self._folder}: {why(error)}")

    def response(self, answer: Mapping[str, Any]) -> None:
        if self._brief is None:
            return
        try:
            archive_response(self._brief, FrameMask(self._redactor, self._exempt)(dict(answer)))
        except OSError as error:
            self.faults.append(f"Crown's answer could not be archived: {why(error)}")

    def dialogue(self, direction: Literal["sent", "received"], frame: str | bytes) -> None:
        try:
            self._dialogues.record(direction, frame)
        except OSError as error:
            self.faults.append(f"the {direction} frame could not be recorded: {why(error)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Send one brief to the Crown at ``$CROWN_WS_URL`` and print what became of it.

    Returns 0 if Crown acknowledged, 3 if it did not, 2 for bad usage.
    """
    import argparse
    import asyncio

    parser = argparse.ArgumentParser(
        prog="python -m razar.crown_handshake",
        description="Send one mission brief to the Crown at $CROWN_WS_URL, with $CROWN_TOKEN if that is set.",
    )
    parser.add_argument("brief", metavar="BRIEF", help="a JSON file with the mission brief")
    parser.add_argument("--mission", help="name of the mission; default: the brief's mission, else manual")
    parser.add_argument("--logs", default="logs", metavar="DIR", help="where the brief is archived")
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="SECONDS", help="for the whole handshake"
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    options = parser.parse_args(argv)
    url = os.environ.get("CROWN_WS_URL")
    if not url:
        parser.error("CROWN_WS_URL is not set: there is no Crown to ask")
    if not 0 < options.timeout < float("inf"):
        parser.error("--timeout: expected a number of seconds above 0")
    try:
        data = read_limited(options.brief, MAX_FRAME)
    except OSError as error:
        parser.error(f"{options.brief}: {why(error)}")
    if data is None:
        parser.error(f"{options.brief}: larger than {MAX_FRAME:,} bytes")
    try:
        brief = decode(data.decode())
    except UnicodeDecodeError:
        parser.error(f"{options.brief}: not UTF-8 text")
    except FrameError as error:
        parser.error(f"{options.brief}: {str(error).replace('the frame', 'the brief')}")
    mission = options.mission or brief.get("mission") or "manual"
    boot_id = f"manual-{os.getpid()}"
    fault = check_brief(brief_frame(brief, mission=mission, boot_id=boot_id, sent_at=0))
    if fault is not None:
        parser.error(f"{options.brief}: {fault}")
    outcome = asyncio.run(
        perform(
            CrownSettings(url=url, timeout=options.timeout),
            brief,
            mission=mission,
            boot_id=boot_id,
            logs=os.path.abspath(options.logs),
            components=brief.get("priority_map", {}).keys() | brief.get("current_status", {}).keys(),
            token=os.environ.get("CROWN_TOKEN"),
            environ=os.environ,
        )
    )
    if options.json:
        shown = outcome.to_state() | {"url": outcome.url, "warnings": list(outcome.warnings)}
        print(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
    else:
        print("\n".join(_told(outcome)))
    return 0 if outcome.accepted else 3


def _told(outcome: Handshake) -> list[str]:
    """Say an outcome in lines for a terminal."""
    lines = [f"{outcome.status}: {outcome.reason or outcome.acknowledgement or 'acknowledged'}"]
    if outcome.accepted:
        lines += [f"crown version: {outcome.crown_version or 'not told'}"]
        lines += [f"capabilities: {', '.join(outcome.capabilities) or 'none'}"]
    for id, entry in outcome.downtime.items():
        until = "until further notice" if entry.until is None else f"until {utc(entry.until)}"
        lines.append(f"downtime of {id} {until}: {entry.reason}")
    return lines + [f"warning: {warning}" for warning in outcome.warnings]


if __name__ == "__main__":
    from razar.utils.pipes import until_closed

    raise SystemExit(until_closed(main))
