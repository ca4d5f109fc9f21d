"""An agent of a few lines that speaks ACP through the real package, and behaves as its first argument says."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import acp
from acp import schema

OPTIONS = [
    schema.PermissionOption(option_id="yes", name="Allow", kind="allow_once"),
    schema.PermissionOption(option_id="no", name="Reject", kind="reject_once"),
]


class Agent:
    def __init__(self, behaviour: str) -> None:
        self._behaviour = behaviour
        self._turns = 0
        self._cwd = ""
        self._client: Any = None

    def on_connect(self, client: Any) -> None:
        self._client = client

    async def initialize(self, protocol_version: int, **rest: Any) -> schema.InitializeResponse:
        offered = rest["client_capabilities"]
        assert not offered.terminal and not offered.fs.write_text_file
        if self._behaviour == "login":
            raise acp.RequestError.auth_required({"message": "run it once and log in"})
        if self._behaviour == "die":
            print("no licence for you", file=sys.stderr)
            sys.stderr.flush()
            os._exit(3)
        return schema.InitializeResponse(protocol_version=9 if self._behaviour == "version" else 1)

    async def new_session(self, cwd: str, **_: Any) -> schema.NewSessionResponse:
        self._cwd = cwd
        return schema.NewSessionResponse(session_id="s")

    async def offer(self, path: str, old: str | None, new: str, *, announced: bool = False) -> str:
        where = os.path.join(self._cwd, path)
        diff = schema.FileEditToolCallContent(type="diff", path=where, old_text=old, new_text=new)
        if announced:
            start = acp.start_tool_call("c", "edit", kind="edit", content=[diff])
            await self._client.session_update("s", start)
        call = schema.ToolCallUpdate(tool_call_id="c", content=None if announced else [diff])
        answer = await self._client.request_permission(session_id="s", tool_call=call, options=OPTIONS)
        outcome = answer.outcome
        return outcome.option_id if isinstance(outcome, schema.AllowedOutcome) else "cancelled"

    def text(self, path: str = "src/server.py") -> str:
        with open(os.path.join(self._cwd, path)) as file:
            return file.read()

    async def say(self, text: str) -> None:
        await self._client.session_update("s", acp.update_agent_message_text(text))

    async def prompt(self, prompt: list[Any], session_id: str, **_: Any) -> schema.PromptResponse:
        self._turns += 1
        reason: Any = await getattr(self, f"do_{self._behaviour.replace('-', '_')}")(prompt[0].text)
        usage = schema.Usage(total_tokens=100, input_tokens=90, output_tokens=10)
        return schema.PromptResponse(stop_reason=reason or "end_turn", usage=usage)

    async def do_edit(self, words: str) -> None:
        if self._turns > 1:
            await self.say("CAUSE: it is taken\nPATCH: another port")
            return
        text = self.text()
        assert await self.offer("src/server.py", text, text.replace("port = 1", "port = 2")) == "no"
        assert self.text() == text

    async def do_announced(self, words: str) -> None:
        if self._turns == 1:
            text = self.text()
            await self.offer("src/server.py", text, text.replace("port = 1", "port = 2"), announced=True)

    async def do_two(self, words: str) -> None:
        # Against the file as it is, in two turns; then a new file.
        text = self.text()
        if self._turns == 1:
            await self.offer("src/server.py", text, text.replace("port = 1", "port = 2"))
        elif self._turns == 2:
            await self.offer("src/server.py", text, text.replace("print(port)", "print(port + 1)"))
            await self.offer("src/new.py", None, "fresh = 1\n")

    async def do_read(self, words: str) -> None:
        # The second edit builds on the first one, which the client remembers and the disk does not.
        if self._turns == 1:
            for old, new in (("port = 1", "port = 2"), ("port = 2", "port = 3")):
                text = (
                    await self._client.read_text_file(path=f"{self._cwd}/src/server.py", session_id="s")
                ).content
                await self.offer("src/server.py", text, text.replace(old, new))
            for path in ("/etc/hostname", "../../x", "src/nothing.py"):
                try:
                    await self._client.read_text_file(path=path, session_id="s")
                except acp.RequestError:
                    continue
                raise AssertionError(path)

    async def do_snippet(self, words: str) -> None:
        if self._turns == 1:
            await self.offer("src/server.py", "port = 1", "port = 2")
            await self.offer("src/server.py", "print(port)", "print(port, port)")

    async def do_conflict(self, words: str) -> None:
        if self._turns == 1:
            text = self.text()
            await self.offer("src/server.py", text, text.replace("port = 1", "port = 2"))
            await self.offer("src/server.py", text, text.replace("port = 1", "port = 3"))

    async def do_stranger(self, words: str) -> None:
        await self.offer("src/server.py", "what is not there", "x")

    async def do_outside(self, words: str) -> None:
        await self.offer("../../../etc/passwd", "", "root::0:0::/:/bin/sh\n")

    async def do_writes(self, words: str) -> None:
        with open(os.path.join(self._cwd, "src/server.py"), "a") as file:
            file.write("print('written')\n")

    async def do_prose(self, words: str) -> None:
        await self.say("Have you tried another port?")

    async def do_endless(self, words: str) -> None:
        while True:
            await self.say("more and more ")

    async def do_huge(self, words: str) -> None:
        await self.say("x" * (17 << 20))

    async def do_turns(self, words: str) -> None:
        await self.offer(f"src/file{self._turns}.py", None, f"n = {self._turns}\n")

    async def do_silence(self, words: str) -> None:
        # With company, in a session of its own.
        subprocess.Popen(["sleep", "300"], start_new_session=True)
        with open(os.path.join(self._cwd, "silent"), "w") as file:
            file.write("yes")
        await asyncio.Event().wait()

    async def do_refusal(self, words: str) -> str:
        return "refusal"

    async def do_max_tokens(self, words: str) -> str:
        await self.do_edit(words)
        return "max_tokens"

    async def do_gone(self, words: str) -> None:
        os._exit(1)

    async def do_garbage(self, words: str) -> None:
        for line in (
            "{",
            "[]",
            "null",
            '{"jsonrpc":"2.0","id":[],"result":1}',
            '{"id":{},"method":"x"}',
            "[" * 9999,
        ):
            print(line, flush=True)
        for line in ('{"jsonrpc":"2.0","method":"session/update","params":5}', '{"method":7,"id":1}'):
            print(line, flush=True)
        for method, params in (
            ("session/request_permission", {"sessionId": 5, "options": [{"kind": "no such kind"}]}),
            ("fs/read_text_file", None),
            ("no/such/method", {"text": "words of the mission"}),
            ("terminal/output", {"sessionId": "s", "terminalId": "t"}),
        ):
            print(json.dumps({"jsonrpc": "2.0", "id": 700, "method": method, "params": params}), flush=True)
        await self.do_edit(words)

    async def do_wants(self, words: str) -> None:
        if self._turns > 1:
            return
        refused = 0
        for wish in (
            lambda: self._client.create_terminal(command="id", session_id="s"),
            lambda: self._client.write_text_file(content="x", path=f"{self._cwd}/x", session_id="s"),
            lambda: self._client.ext_method("shell", {"command": "id"}),
        ):
            try:
                await wish()
            except acp.RequestError:
                refused += 1
        assert refused == 3
        call = schema.ToolCallUpdate(tool_call_id="t", kind="execute", title="rm -rf /")
        answer = await self._client.request_permission(session_id="s", tool_call=call, options=OPTIONS)
        assert answer.outcome.option_id == "no"
        answer = await self._client.request_permission(session_id="s", tool_call=call, options=OPTIONS[:1])
        assert answer.outcome.outcome == "cancelled"
        await self.do_edit(words)

    async def do_tell(self, words: str) -> None:
        # What it was given, as the new file.
        told = "\n".join(f"{name}={value}" for name, value in sorted(os.environ.items()))
        listing = [os.path.join(place, name) for place, _, names in os.walk(self._cwd) for name in names]
        if self._turns == 1:
            await self.offer(
                "src/told.txt", None, f"{told}\n{self._cwd}\n" + "\n".join(sorted(listing)) + "\n"
            )

    async def do_pry(self, words: str) -> None:
        # What it can reach of the paths it is told to try, as the new file.
        found: dict[str, str] = {"pid": str(os.getpid()), "parent": str(os.getppid())}
        for path in self.text("pry.txt").split():
            for mode in ("r", "a"):
                try:
                    with open(path, mode) as file:
                        found[f"{mode} {path}"] = file.read(99) if mode == "r" else "open"
                except OSError as error:
                    found[f"{mode} {path}"] = type(error).__name__
        if self._turns == 1:
            await self.offer("src/told.txt", None, json.dumps(found) + "\n")


if __name__ == "__main__":
    asyncio.run(acp.run_agent(Agent(sys.argv[1])))  # type: ignore[arg-type]
