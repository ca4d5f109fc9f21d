"""``cmd:``: a command exits with 0."""

from __future__ import annotations

from razar.launchers.base import LaunchError
from razar.launchers.processes import run
from razar.probes.base import Answer, Check, ProbeError

__all__ = ["CmdCheck"]

#: Most bytes kept of the output, and most characters of its last line in an error.
BODY_LIMIT = 64 << 10
LINE_WIDTH = 200


class CmdCheck(Check):
    """Runs in the component's folder with its environment; its status is that of ``expect``.

    When the time is over, the command is killed with everything it has started.
    """

    #: At most half of the time is spent on the command: it competes with the component for the CPU.
    rest = 1.0

    async def attempt(self) -> Answer:
        try:
            done = await run(
                self.probe.argv, cwd=self.target.cwd, env=self.target.env, capture=True, grace=0.0
            )
        except LaunchError as error:
            raise ProbeError(str(error)) from None
        if done.signal is not None:
            raise ProbeError(f"{self.probe.argv[0]} was ended by SIG{done.signal}")
        body = done.output[-BODY_LIMIT:]
        return Answer(status=done.code, body=body, truncated=len(done.output) > BODY_LIMIT)

    def judge(self, answer: Answer) -> None:
        if answer.status != 0:
            from razar.utils.redaction import one_line

            lines = answer.body.decode(errors="replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "")
            said = f": {one_line(last, LINE_WIDTH)}" if last else ""
            raise ProbeError(f"{self.probe.argv[0]} exited with {answer.status}, expected 0{said}")
