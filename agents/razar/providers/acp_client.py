"""Our side of the Agent Client Protocol: edits are taken down and declined, nothing else is granted.

The only module that imports the package agent-client-protocol.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, NoReturn, cast

import acp
from acp import schema
from pydantic import ValidationError

from agents.razar.errors import AgentError, BrokenConnectionError, ProposalRefusedError
from agents.razar.local.agent_process import AgentProcess
from agents.razar.local.collected import Collected
from agents.razar.providers.told import told_error
from agents.razar.web.own_keys import OwnKeys
from razar.utils.redaction import one_line

__all__ = ["Client", "Conversation"]

#: Characters of an agent's words that are kept.
_SAID = 20_000
_DECLINING = ("reject_once", "reject_always")


class Client:
    """What an agent may ask of us: permissions, which are declined, and files of its copy."""

    def __init__(self, folder: str, collected: Collected) -> None:
        self._folder = folder
        self._collected = collected
        self._announced: dict[str, list[tuple[str, str | None, str]]] = {}
        self.fault: ProposalRefusedError | None = None
        self.said = ""
        self.used = 0

    def on_connect(self, connection: object) -> None:
        """Part of the package's interface."""

    async def request_permission(
        self,
        session_id: str,
        tool_call: schema.ToolCallUpdate,
        options: list[schema.PermissionOption],
        **_: Any,
    ) -> schema.RequestPermissionResponse:
        """Take the edits down and say no."""
        found = [
            (part.path, part.old_text, part.new_text)
            for part in tool_call.content or []
            if isinstance(part, schema.FileEditToolCallContent)
        ]
        for path, old, new in found or self._announced.get(tool_call.tool_call_id, []):
            try:
                self._collected.add(path, old, new)
            except ProposalRefusedError as fault:
                self.fault = self.fault or fault
        for kind in _DECLINING:
            for option in options:
                if option.kind == kind:
                    chosen = schema.AllowedOutcome(outcome="selected", option_id=option.option_id)
                    return schema.RequestPermissionResponse(outcome=chosen)
        return schema.RequestPermissionResponse(outcome=schema.DeniedOutcome(outcome="cancelled"))

    async def read_text_file(
        self, session_id: str, path: str, line: int | None = None, limit: int | None = None, **_: Any
    ) -> schema.ReadTextFileResponse:
        """A file of the copy, with the edits that were offered so far."""
        try:
            text = self._collected.text(path)
        except ProposalRefusedError:
            text = None
        if text is None:
            raise acp.RequestError.resource_not_found(path[:200])
        if line is not None or limit is not None:
            first = max(0, (line or 1) - 1)
            lines = text.splitlines(keepends=True)[first:]
            text = "".join(lines if limit is None else lines[: max(0, limit)])
        return schema.ReadTextFileResponse(content=text)

    async def write_text_file(self, session_id: str, path: str, content: str, **_: Any) -> NoReturn:
        """Not offered."""
        raise acp.RequestError.method_not_found("fs/write_text_file")

    async def create_terminal(self, session_id: str, command: str, **_: Any) -> NoReturn:
        """Not offered."""
        raise acp.RequestError.method_not_found("terminal/create")

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        """Part of the package's interface; updates are taken by ``heard`` before it sees them."""

    def heard(self, params: Any) -> None:
        """Take an update, of which only a few kinds matter, and none needs to be sound."""
        update = params.get("update") if isinstance(params, dict) else None
        if not isinstance(update, dict):
            return
        match update.get("sessionUpdate"):
            case "agent_message_chunk":
                content = update.get("content")
                text = content.get("text") if isinstance(content, dict) else None
                if isinstance(text, str):
                    self.said = (self.said + text)[-_SAID:]
            case "usage_update":
                used = update.get("used")
                if isinstance(used, int) and not isinstance(used, bool) and 0 <= used < 1 << 40:
                    self.used = max(self.used, used)
            case "tool_call" | "tool_call_update":
                self._announce(update)

    def _announce(self, update: dict[str, Any]) -> None:
        """Remember edits that are told of before the permission for them is asked."""
        call, content = update.get("toolCallId"), update.get("content")
        if not isinstance(call, str) or not isinstance(content, list):
            return
        found = [
            (part["path"], part.get("oldText"), part["newText"])
            for part in content
            if isinstance(part, dict)
            and part.get("type") == "diff"
            and isinstance(part.get("path"), str)
            and isinstance(part.get("newText"), str)
            and isinstance(part.get("oldText"), str | None)
        ]
        if found and (call in self._announced or len(self._announced) < 1000):
            self._announced[call] = found


class _Wire:
    """Messages to and from the process. What is no sound message is dropped here, and never logged."""

    def __init__(self, process: AgentProcess, client: Client) -> None:
        self._process = process
        self._client = client
        self.fault: AgentError | None = None

    async def send(self, message: dict[str, Any]) -> None:
        # The package's own words on an unsound request may hold what JSON does not know.
        await self._process.write(json.dumps(message, separators=(",", ":"), default=str).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        while True:
            await asyncio.sleep(0)  # A flood must not keep the deadline from passing.
            try:
                line = await self._process.line()
            except AgentError as fault:
                self.fault = fault
                return None
            if not line:
                return None
            message = _message(line)
            if message is None:
                continue
            if "id" in message:
                return message
            if message.get("method") == "session/update":
                self._client.heard(message.get("params"))

    async def close(self) -> None:
        """The process is ended by whoever started it."""


def _message(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    if "id" in message and not isinstance(message["id"], int | str):
        return None
    if not isinstance(message.get("method", ""), str):
        return None
    fault = message.get("error")
    if fault is not None and not isinstance(fault, dict):
        message["error"] = {"code": -32603, "message": str(fault)[:1000]}
    return message


class Conversation:
    """One session with an agent."""

    def __init__(self, who: str, process: AgentProcess, client: Client, folder: str, keys: OwnKeys) -> None:
        self._who = who
        self._client = client
        self._folder = folder
        self._keys = keys
        self._wire = _Wire(process, client)
        # What the client lacks of the interface is answered by the package: there is no such method.
        self._connection = acp.connect_to_agent(cast("acp.Client", client), self._wire)
        self._session = ""
        self.model: str | None = None

    async def close(self) -> None:
        """Stop listening."""
        await self._connection.close()

    async def begin(self) -> None:
        """Agree on the protocol and open a session."""
        offered = schema.ClientCapabilities(
            fs=schema.FileSystemCapabilities(read_text_file=True, write_text_file=False), terminal=False
        )
        ours = schema.Implementation(name="razar", version="1")
        try:
            answer = await self._connection.initialize(acp.PROTOCOL_VERSION, offered, ours)
            if answer.protocol_version != acp.PROTOCOL_VERSION:
                raise BrokenConnectionError(
                    f"{self._who} speaks version {answer.protocol_version} of ACP, not {acp.PROTOCOL_VERSION}"
                )
            session = await self._connection.new_session(cwd=self._folder, mcp_servers=[])
        except (acp.RequestError, ValidationError, ConnectionError) as fault:
            raise self._explained(fault) from None
        self._session = session.session_id
        self.model = _model(session)

    async def say(self, text: str) -> tuple[str, int]:
        """One turn: why it ended, and the tokens it took (0 if it did not say)."""
        self._client.used = 0
        try:
            answer = await self._connection.prompt(self._session, [acp.text_block(text)])
        except (acp.RequestError, ValidationError, ConnectionError) as fault:
            raise self._explained(fault) from None
        total = answer.usage.total_tokens if answer.usage is not None else 0
        return answer.stop_reason, max(total, self._client.used)

    def _explained(self, fault: Exception) -> AgentError:
        if self._wire.fault is not None:
            return self._wire.fault
        if isinstance(fault, acp.RequestError):
            return told_error(self._who, fault.code, str(fault), fault.data, self._keys)
        if isinstance(fault, ValidationError):
            return BrokenConnectionError(f"{self._who}: its answer does not keep to ACP")
        return BrokenConnectionError(f"{self._who} ended before it answered")


def _model(session: schema.NewSessionResponse) -> str | None:
    for option in session.config_options or []:
        value = getattr(option, "current_value", None)
        if option.id == "model" and isinstance(value, str):
            return one_line(value, 100)
    return None
