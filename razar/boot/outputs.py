"""Everything a boot shows and keeps: journal, log, console, state file, metrics, traces, quarantine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping
from typing import Any

from razar.boot.journal_sync import JournalSync
from razar.boot.options import BootOptions
from razar.config.model import MissionConfig
from razar.console import make_console
from razar.engine.events import EnvironmentPrepared
from razar.engine.facts import Fact
from razar.engine.mission import initial
from razar.engine.plan import Plan
from razar.engine.recovery import Remains, remains
from razar.engine.state import MissionState
from razar.metrics import MissionMetrics, init_metrics
from razar.mission_logger import Journal, read, segments
from razar.projections.boot_log import BootLog
from razar.projections.recent_events import RecentEvents
from razar.projections.wording import Level
from razar.quarantine_manager import Entry, QuarantineManager, definition_digest
from razar.state import StateFile, load_previous, render
from razar.tracing import ENVIRONMENT, BootTrace, Tracer
from razar.utils import redaction
from razar.utils.logging import use_folder

__all__ = ["Outputs"]

#: Seconds for which changes are collected before a snapshot of them is written.
SNAPSHOT_AFTER = 0.05


class Outputs:
    """The projections of one boot behind one face. All of them are told the same facts."""

    def __init__(
        self,
        options: BootOptions,
        config: MissionConfig,
        plan: Plan,
        *,
        boot_id: str,
        logs: str,
        environ: Mapping[str, str],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        use_folder(logs)
        for component in config.components:
            if component.env:
                redaction.learn(component.env)
        self._config = config
        self._plan = plan
        self._log = BootLog(
            os.path.join(logs, "boot_orchestrator.log"),
            config.mission,
            report=self._complain_once,
            later=self._loop.call_soon,
        )
        self._console = make_console(
            config.mission, plan.order, json=options.json, verbosity=options.verbosity, environ=environ
        )
        self.journal = Journal(
            os.path.join(logs, "razar_journal.jsonl"),
            report=self.warn,
            checkpoint=lambda: self._state or initial(plan),
        )
        state_path = os.path.join(logs, "razar_state.json")
        self.previous, problem = load_previous(state_path)
        if problem is not None:
            self.warn(problem)
        self._last_boot = None if self.previous is None else self.previous.get("last_boot")
        self._state_file = StateFile(state_path, report=self._warn_from_thread)
        self._events = RecentEvents()
        self._quarantine = QuarantineManager(config.root, logs, report=self.warn)
        self._metrics = MissionMetrics(config.mission, config.components)
        self.trace = BootTrace(Tracer(), config.mission, boot_id)
        self._state: MissionState | None = None
        self._sync = JournalSync(self.journal)
        self._snapshot: asyncio.TimerHandle | None = None

    # -- facts ----------------------------------------------------------------------------------

    def fact(self, fact: Fact, state: MissionState) -> None:
        """Tell a fact to everybody."""
        self.trace.fact(fact, state)
        self._log.fact(fact, state)
        self._console.fact(fact, state)
        self._events.fact(fact, state)
        self._metrics.fact(fact, state)

    def changed(self, state: MissionState) -> None:
        """The state has changed: have the snapshot written, and the journal brought to the disk."""
        self._state = state
        if self._snapshot is None:
            self._snapshot = self._loop.call_later(SNAPSHOT_AFTER, self._offer_snapshot)
        self._sync.due()

    def moved(self, state: MissionState) -> None:
        """There is another logs folder, or one again: what is known of the mission has to be written there."""
        self._state = state
        self._offer_snapshot()
        self._state_file.hasten()

    def _offer_snapshot(self) -> None:
        """Have the state as it is now written; the thread that does it gets everything it needs."""
        if self._snapshot is not None:
            self._snapshot.cancel()
            self._snapshot = None
        state, order, last_boot = self._state, self._plan.order, self._last_boot
        if state is not None:
            events = self._events.entries()
            quarantine = list(self._quarantine.current())
            self._state_file.offer(lambda: render(state, order, events, quarantine, last_boot))

    def remains(self, machine: str, boots: frozenset[str]) -> Remains:
        """By what processes can be told that earlier boots started and nobody has seen end.

        ``boots`` are those that were killed, whether or not the journal tells of them.
        """
        tape = []
        for path in segments(self.journal.path):
            records, problems = read(path)
            for problem in problems:
                self.warn(problem)
            tape += [record.event for record in records if record.event is not None]
        return remains(tape, machine, boots)

    # -- words ----------------------------------------------------------------------------------

    def say(self, level: Level, text: str) -> None:
        """Write a line into the log and to the console."""
        self._log.line(level, text)
        self._console.line(level, text)

    def warn(self, text: str) -> None:
        """Tell something that is wrong and does not stop the mission."""
        self.say("WARN", text)

    def clock_moved(self, seconds: float) -> None:
        """The machine's clock is suddenly so many seconds ahead of where it was, or behind."""
        where = "ahead" if seconds > 0 else "back"
        self.warn(
            f"the machine's clock has moved {abs(seconds):.0f} s {where}: it slept, or its time was set; "
            "times from here on are by its new time"
        )

    def _warn_from_thread(self, text: str) -> None:
        self._loop.call_soon_threadsafe(self.warn, text)

    def _complain_once(self, text: str) -> None:
        self._console.line("WARN", text)

    def progress(self, layer: str, text: str) -> None:
        """Show how far the environment of a layer is."""
        self._console.progress(layer, text)

    def failed(self, reason: str) -> None:
        """The boot ended before its first ignition."""
        self.say("ERROR", f"Mission {self._config.mission} failed: {reason}")

    # -- what adapters measure ------------------------------------------------------------------

    def environment(self, event: EnvironmentPrepared, began: float) -> None:
        """The environment of a layer, ``began`` at that instant, is there or could not be built."""
        span = self.trace.child(ENVIRONMENT, at=began, layer=event.layer, outcome=event.outcome)
        if event.error is not None:
            span.fail(event.error)
        span.end(began + event.seconds)
        self._metrics.environment_built(event.layer, event.outcome, event.seconds)
        if event.outcome == "failed":
            self._events.note("environment", event.layer, "fail", event.error, self._now())
            return
        self._events.note("environment", event.layer, "ok", None, self._now())
        if event.outcome == "built":
            self.say("INFO", f"Environment {event.layer} built in {event.seconds:.1f} s")

    def probe(self, component: str, outcome: str, seconds: float) -> None:
        """One health check has ended."""
        self._metrics.probe(component, outcome, seconds)

    def model_launched(self, result: Mapping[str, Any]) -> None:
        """The model launcher has ended; a model that cannot be had here is no failure."""
        level: Level = "INFO" if result["status"] in ("launched", "unavailable") else "WARN"
        detail = f": {result['detail']}" if result.get("detail") else ""
        self.say(level, f"Model {result['model']} {result['status']}{detail} (log: {result['log']})")

    def handshake(self, status: str, reason: str | None) -> None:
        """The handshake has ended."""
        self._events.note("handshake", None, "ok" if status == "ack" else status, reason, self._now())

    def serve_metrics(self) -> None:
        """Open the metrics endpoint; a taken port is a warning."""
        init_metrics(report=self._warn_from_thread)

    # -- quarantine -----------------------------------------------------------------------------

    def quarantine(self, component: str, error: str, tail: tuple[str, ...]) -> None:
        """Put a component into quarantine, with its class and what to do about it."""
        from razar.issues.classes import classify

        issue = classify(error, tail)
        digest = self._digests([component])[component]
        self._quarantine.quarantine(component, error, issue.name, issue.remediation, digest)
        if self._state is not None:
            self.changed(self._state)

    def quarantined(self) -> dict[str, str]:
        """Who is in quarantine since an earlier boot, with the reason; changed definitions are released."""
        if not self._quarantine.current():
            return {}
        digests = self._digests(self._plan.components)
        self._quarantine.reconcile(digests)
        return {
            id: f"in quarantine since {_when(entry)} ({entry.error}); `razar quarantine release {id}`"
            for id, entry in self._quarantine.current().items()
            if id in digests
        }

    def _digests(self, ids: Collection[str]) -> dict[str, str]:
        """Digests of definitions as they are in the file: what a command line says is no change of them."""
        return {one.id: definition_digest(one) for one in self._config.components if one.id in ids}

    def release(self, component: str, note: str) -> bool:
        """Release a component; False if it is not in quarantine."""
        return self._quarantine.release(component, note)

    def open_issues(self) -> list[dict[str, str]]:
        """What is in quarantine, as a brief tells it."""
        return [{"id": id, "detail": entry.error} for id, entry in self._quarantine.current().items()]

    async def flush(self) -> None:
        """Wait until what was told so far is on the screen and in the state file."""
        self._offer_snapshot()
        await self._loop.run_in_executor(None, self._state_file.flush)
        await self._loop.run_in_executor(None, self._console.flush)

    # -- the end --------------------------------------------------------------------------------

    def close(self) -> None:
        """Write everything that is left."""
        self._sync.close()
        self._offer_snapshot()
        self.trace.close()
        self.journal.close()
        self._state_file.close()
        self._console.close()
        self._log.close()

    def _now(self) -> float:
        import time

        return time.time()


def _when(entry: Entry) -> str:
    from razar.utils.times import utc

    return utc(entry.since)
