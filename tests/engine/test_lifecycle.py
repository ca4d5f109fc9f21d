"""The life of one component, event by event."""

from __future__ import annotations

import pytest

from razar.config.model import Probe, Restart, Stop
from razar.engine import effects, events
from razar.engine.facts import MissionSettled, Transition

from .support import Mission, component


def test_ignition_launches_then_probes_then_runs() -> None:
    mission = Mission(component("a")).begin()
    assert mission.asked(effects.Launch) == [effects.Launch("a", 1)]
    assert mission.asked(effects.SetTimer) == [effects.SetTimer("a", 1, "deadline", 1060.0)]
    mission.spawn("a")
    assert mission.asked(effects.Probe) == [effects.Probe("a", 1, "readiness")]
    mission.take(events.ProbePassed("a", 1))
    assert mission["a"].state == "running" and mission["a"].pid == 4711
    assert mission.asked(effects.Probe) == [effects.Probe("a", 1, "liveness")]
    assert mission.asked(effects.CancelTimer) == [effects.CancelTimer("a", 1, "deadline")]


def test_successes_must_be_consecutive() -> None:
    mission = Mission(component("a", probe=Probe(kind="tcp", successes=2))).begin().spawn("a")
    mission.take(events.ProbePassed("a", 1)).take(events.ProbeFailed("a", 1, "refused"))
    mission.take(events.ProbePassed("a", 1))
    assert mission["a"].state == "igniting"
    mission.take(events.ProbePassed("a", 1))
    assert mission["a"].state == "running"


def test_a_repeated_readiness_failure_changes_nothing() -> None:
    mission = Mission(component("a")).begin().spawn("a").take(events.ProbeFailed("a", 1, "refused"))
    before = mission.state
    assert mission.take(events.ProbeFailed("a", 1, "refused")).state is before


def test_an_exit_before_health_fails_at_once_and_is_retried_with_backoff() -> None:
    mission = Mission(component("a")).begin().spawn("a").exit("a", 3, tail=("boom",))
    assert mission["a"].state == "backoff"
    assert mission["a"].error == "exited with code 3 before it was healthy"
    assert effects.SetTimer("a", 1, "backoff", 1000.5) in mission.effects
    (fact,) = [f for f in mission.facts if isinstance(f, Transition)]
    assert fact.tail == ("boom",)
    mission.timer("a", "backoff", 0.5)
    assert mission.asked(effects.Launch) == [effects.Launch("a", 2)]


def test_backoff_doubles_has_jitter_and_a_cap() -> None:
    restart = Restart(backoff=1.0, max_backoff=3.0)
    mission = Mission(component("a", restart=restart, retries=9)).begin()
    delays = []
    for _ in range(4):
        mission.spawn("a").take(events.Exited("a", mission["a"].incarnation, 1), jitter=0.5)
        delays.append(round(mission["a"].until - mission.now, 6))  # type: ignore[operator]
        mission.timer("a", "backoff")
    assert delays == [1.05, 2.1, 3.15, 3.15]


def test_retries_are_attempts_after_the_first_then_quarantine() -> None:
    mission = Mission(component("a", retries=1)).begin().spawn("a").exit("a").timer("a", "backoff")
    mission.spawn("a").exit("a")
    assert mission["a"].state == "quarantined"
    assert mission.asked(effects.Quarantine)
    assert isinstance(mission.facts[-1], MissionSettled) and mission.facts[-1].outcome == "failed"


def test_with_repair_the_agents_are_asked_before_quarantine() -> None:
    mission = Mission(component("a", retries=0), repair=True).begin().spawn("a").exit("a")
    assert mission["a"].state == "repairing"
    assert mission.asked(effects.RequestRepair)[0].error == "exited with code 1 before it was healthy"
    mission.take(events.RepairFinished("a", 1, True))
    assert mission["a"].state == "igniting" and mission["a"].incarnation == 2
    mission.spawn("a").exit("a").take(events.RepairFinished("a", 2, False, "budget spent"))
    assert mission["a"].state == "quarantined" and "budget spent" in (mission["a"].error or "")


def test_a_failed_launch_counts_as_a_failed_attempt() -> None:
    mission = Mission(component("a", retries=0)).begin().take(events.LaunchFailed("a", 1, "no such file"))
    assert mission["a"].state == "quarantined" and mission["a"].error == "no such file"


def test_the_deadline_stops_the_incarnation_and_says_what_the_last_probe_found() -> None:
    mission = Mission(component("a", retries=0)).begin().spawn("a")
    mission.take(events.ProbeFailed("a", 1, "connection refused")).timer("a", "deadline", 60)
    assert mission.asked(effects.Signal) == [effects.Signal("a", 1, "TERM")]
    assert mission["a"].state == "igniting"
    mission.exit("a", None, "TERM")
    assert mission["a"].state == "quarantined"
    assert mission["a"].error == "not healthy within 60 s; last probe: connection refused"


def test_a_death_after_health_is_restarted_within_the_limit_of_the_window() -> None:
    restart = Restart(backoff=0, limit=2, window=100)
    mission = Mission(component("a", restart=restart)).begin().prove("a")
    for expected in (1, 2):
        mission.exit("a", None, "KILL").prove("a")
        assert mission["a"].restarts == expected and mission["a"].state == "running"
    mission.exit("a", None, "KILL")
    assert mission["a"].state == "quarantined" and "restarted 2 times in 100 s" in (mission["a"].error or "")


def test_restarts_from_before_the_clock_was_set_back_are_forgotten() -> None:
    mission = Mission(component("a", restart=Restart(backoff=0, limit=1, window=100))).begin().prove("a")
    mission.exit("a").prove("a")
    mission.now -= 3600
    mission.exit("a").prove("a")
    assert mission["a"].state == "running"
    assert mission["a"].restart_times == (mission.now,)


def test_restarts_outside_the_window_are_forgotten() -> None:
    mission = Mission(component("a", restart=Restart(backoff=0, limit=1, window=100))).begin().prove("a")
    for _ in range(5):
        mission.now += 101
        mission.exit("a").prove("a")
    assert mission["a"].state == "running" and mission["a"].restarts == 5


def test_thirty_healthy_seconds_reset_the_backoff() -> None:
    mission = Mission(component("a", restart=Restart(backoff=1.0, limit=99))).begin().prove("a")
    mission.exit("a").timer("a", "backoff").prove("a").exit("a")
    assert mission["a"].until == mission.now + 2.0
    mission.timer("a", "backoff").prove("a").timer("a", "stable", 30).exit("a")
    assert mission["a"].until == mission.now + 1.0


@pytest.mark.parametrize(
    ("policy", "code", "state"),
    [
        ("on-failure", 0, "completed"),
        ("on-failure", 1, "backoff"),
        ("always", 0, "backoff"),
        ("never", 1, "failed"),
        ("never", 0, "completed"),
    ],
)
def test_restart_policies(policy: str, code: int, state: str) -> None:
    restart = Restart(policy=policy)  # type: ignore[arg-type]
    mission = Mission(component("a", restart=restart)).begin().prove("a").exit("a", code)
    assert mission["a"].state == state


def test_liveness_failures_are_counted_and_a_pass_resets_them() -> None:
    mission = Mission(component("a")).begin().prove("a")
    for _ in range(2):
        mission.take(events.ProbeFailed("a", 1, "timed out"))
    mission.take(events.ProbePassed("a", 1))
    for _ in range(2):
        mission.take(events.ProbeFailed("a", 1, "timed out"))
    assert mission["a"].state == "running"
    mission.take(events.ProbeFailed("a", 1, "timed out"))
    assert mission["a"].state == "unhealthy"
    assert mission.asked(effects.Signal) == [effects.Signal("a", 1, "TERM")]
    mission.exit("a", None, "TERM")
    assert mission["a"].state == "backoff" and mission["a"].restarts == 1


def test_unhealthy_under_policy_never_stays_and_may_recover() -> None:
    mission = Mission(component("a", restart=Restart(policy="never"), probe=Probe(kind="tcp", failures=1)))
    mission.begin().prove("a").take(events.ProbeFailed("a", 1, "timed out"))
    assert mission["a"].state == "unhealthy" and not mission.asked(effects.Signal)
    mission.take(events.ProbePassed("a", 1))
    assert mission["a"].state == "running" and mission["a"].error is None


@pytest.mark.parametrize(
    "stale",
    [
        events.ProbePassed("a", 1),
        events.Exited("a", 1, 0),
        events.TimerFired("a", 1, "deadline"),
        events.Spawned("a", 1, 99, 1),
        events.RepairFinished("a", 1, True),
        events.Exited("nobody", 1, 0),
    ],
)
def test_events_of_an_older_incarnation_change_nothing(stale: events.Event) -> None:
    mission = Mission(component("a")).begin().spawn("a").exit("a").timer("a", "backoff").spawn("a")
    before = mission.state
    mission.take(stale)
    assert mission.state is before and not mission.effects


def test_a_second_exit_of_the_same_incarnation_changes_nothing() -> None:
    mission = Mission(component("a")).begin().prove("a").exit("a")
    before = mission.state
    assert mission.exit("a").state is before


def test_a_task_completes_with_exit_code_zero() -> None:
    task = component("a", kind="task", probe=Probe(kind="exit"))
    mission = Mission(task).begin().spawn("a")
    assert not mission.asked(effects.Probe)
    mission.exit("a", 0)
    assert mission["a"].state == "completed" and mission.state.outcome == "complete"


def test_stop_escalates_to_kill_when_the_grace_is_over() -> None:
    mission = Mission(component("a", stop=Stop(signal="INT", grace=5))).begin().prove("a")
    mission.take(events.OperatorStopped("a"))
    assert mission.asked(effects.Signal) == [effects.Signal("a", 1, "INT")]
    assert effects.SetTimer("a", 1, "grace", 1005.0) in mission.effects
    mission.timer("a", "grace", 5)
    assert mission.asked(effects.Kill) == [effects.Kill("a", 1)]
    mission.exit("a", None, "KILL")
    assert mission["a"].state == "stopped"


def test_restart_while_the_process_is_still_being_made_starts_no_second_copy() -> None:
    mission = Mission(component("a")).begin().take(events.OperatorRestarted("a"))
    assert not mission.asked(effects.Launch) and not mission.asked(effects.Signal)
    mission.spawn("a")
    assert mission.asked(effects.Signal) == [effects.Signal("a", 1, "TERM")]
    mission.take(events.OperatorRestarted("a"))
    assert not mission.asked(effects.Launch)
    mission.exit("a", None, "TERM")
    assert mission.asked(effects.Launch) == [effects.Launch("a", 2)]
