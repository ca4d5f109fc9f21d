"""The main job's command line: check the files, take the lock, boot the mission."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # Imported where Ctrl-C is caught.
    from agents.razar.handover import Attempt, Handovers
    from razar.boot.mission_lock import MissionLock
    from razar.boot.options import BootOptions
    from razar.config.faults import ConfigurationError, Fault
    from razar.config.model import EnvironmentSpec, MissionConfig
from razar.utils.pipes import until_closed
from razar.utils.places import NOWHERE, default_logs, is_nowhere

__all__ = ["build_failure_context", "main"]

#: From so many components on their log folders are made ahead of the launches.
FOLDERS_AHEAD = 16


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    gc.disable()  # A start makes no garbage to speak of; the boot turns it on again.
    try:
        return until_closed(lambda: _main(arguments))
    finally:
        gc.enable()


def _main(arguments: list[str]) -> int:
    if is_nowhere():
        sys.stderr.write(NOWHERE)
        return 2
    from razar.utils.deferral import defer_costly

    defer_costly()
    from razar.boot.options import parse
    from razar.config.faults import ConfigurationError

    options = parse(arguments)
    try:
        config, environments, brief = load(options)
    except ConfigurationError as error:
        return _refuse(options, error)
    if (options.check or options.plan) and not options.json:
        for warning in config.warnings:
            sys.stderr.write(f"warning: {warning}\n")
    if options.check:
        return _say_checked(options, config, environments)
    if options.plan:
        from razar.boot.plan_view import show_plan

        return show_plan(config, environments, as_json=options.json)
    if options.detach:
        from razar.boot.detach import boot_in_background

        return boot_in_background([argument for argument in arguments if argument != "--detach"])
    return _boot(options, config, environments, brief)


def load(
    options: BootOptions,
) -> tuple[MissionConfig, tuple[EnvironmentSpec, ...], dict[str, object] | None]:
    """Read every file of the mission; raise ConfigurationError with the faults of all of them."""
    from razar.config.faults import ConfigurationError
    from razar.config.load import find_mission, load_mission

    path = find_mission(options.mission, config=options.config, folder=os.getcwd())
    faults: list[Fault] = []
    environments: tuple[EnvironmentSpec, ...] = ()
    layers = None
    try:
        environments = _load_environments(options, path)
        layers = [spec.layer for spec in environments]
    except ConfigurationError as error:
        faults.extend(error.faults)
    config = None
    try:
        config = load_mission(path, environ=os.environ, layers=layers)
    except ConfigurationError as error:
        faults.extend(error.faults)
    brief = None
    if options.brief is not None:
        from razar.config.brief import load_brief

        try:
            brief = load_brief(options.brief, None if config is None else [c.id for c in config.components])
        except ConfigurationError as error:
            faults.extend(error.faults)
    if faults or config is None:
        raise ConfigurationError(faults)
    return config, environments, brief


def _load_environments(options: BootOptions, config_path: str) -> tuple[EnvironmentSpec, ...]:
    path = options.environments or os.path.join(
        os.path.dirname(os.path.abspath(config_path)), "razar_env.yaml"
    )
    if options.environments is None and not os.path.exists(path):
        return ()
    from razar.config.environments import load_environments

    return load_environments(path, required=options.environments is not None)


def _refuse(options: BootOptions, error: ConfigurationError) -> int:
    if options.json:
        sys.stdout.write(error.to_json().decode() + "\n")
    else:
        count = len(error.faults)
        sys.stderr.write(f"{error}\nrazar: {count} fault{'s' if count != 1 else ''}; nothing was started\n")
    return 2


def _say_checked(
    options: BootOptions, config: MissionConfig, environments: tuple[EnvironmentSpec, ...]
) -> int:
    if options.json:
        import json

        found = {"mission": config.mission, "components": len(config.components), "layers": len(environments)}
        print(json.dumps({"ok": True, **found, "warnings": config.warnings}))
    elif options.verbosity >= 0:
        print(
            f"{config.path}: mission {config.mission}, {len(config.components)} components, "
            f"{len(environments)} environments: no faults"
        )
    return 0


def _boot(
    options: BootOptions,
    config: MissionConfig,
    environments: tuple[EnvironmentSpec, ...],
    brief: dict[str, object] | None,
) -> int:
    from razar.boot import stop_signals
    from razar.boot.mission_lock import AlreadyRunningError, BusyError, MissionLock
    from razar.launchers.procfs import machine_run

    stop_signals.take()
    boot_id = os.urandom(8).hex()
    logs = os.path.abspath(options.logs) if options.logs else os.path.abspath(default_logs(config.path))
    try:
        os.makedirs(logs, mode=0o750, exist_ok=True)
        lock = MissionLock(os.path.join(logs, "razar.lock"))
        lock.acquire(
            boot_id,
            machine_run(),
            on_wait=lambda: sys.stderr.write(
                f"razar: a razar command is at work in {logs}; waiting for it\n"
            ),
        )
    except BusyError:
        sys.stderr.write(f"razar: a razar command is still at work in {logs}; boot again when it has ended\n")
        return 5
    except AlreadyRunningError as error:
        sys.stderr.write(
            f"razar: the supervisor with pid {error.pid or 'unknown'} already runs a mission in {logs}: "
            "see `razar status`, end it with `razar stop`, or give this one other --logs\n"
        )
        return 5
    except OSError as error:
        sys.stderr.write(f"razar: cannot write to the logs folder {logs}: {error.strerror}\n")
        return 2
    clean = False
    try:
        code, clean = _run(options, config, environments, brief, logs, boot_id, lock)
        return code
    finally:
        lock.release(clean=clean)


def _run(
    options: BootOptions,
    config: MissionConfig,
    environments: tuple[EnvironmentSpec, ...],
    brief: dict[str, object] | None,
    logs: str,
    boot_id: str,
    lock: MissionLock,
) -> tuple[int, bool]:
    """Return the exit code, and whether nothing that was ever started can still be there."""
    from razar.boot.component_environment import log_path
    from razar.launchers import descriptors
    from razar.launchers.log_folders import make_ready

    descriptors.widen(descriptors.need(len(config.components)))
    if len(config.components) >= FOLDERS_AHEAD:
        make_ready([log_path(logs, component.id) for component in config.components])

    import asyncio

    from msgspec.structs import replace

    from razar.boot.detach import Teller
    from razar.boot.job import Boot
    from razar.boot.outputs import Outputs
    from razar.boot.own_warnings import own_warnings
    from razar.engine.plan import compile_plan
    from razar.launchers import processes

    components = config.components
    if options.retries is not None:
        retries = options.retries
        components = tuple(replace(component, retries=retries) for component in components)
    plan = compile_plan(replace(config, components=components), repair=_repairable(options, config))
    teller = Teller()

    async def mission() -> tuple[int, bool]:
        processes.mark(boot_id)
        outputs = Outputs(options, config, plan, boot_id=boot_id, logs=logs, environ=os.environ)
        try:
            boot = Boot(
                options,
                config,
                plan,
                environments,
                boot_id=boot_id,
                lock=lock,
                brief=brief,
                logs=logs,
                environ=os.environ,
                outputs=outputs,
                retry=_retry_with_ai,
            )
            with own_warnings(outputs.warn):
                return await boot.run(on_settled=teller.tell), not boot.left_behind
        finally:
            outputs.close()

    return asyncio.run(mission())


def _repairable(options: BootOptions, config: MissionConfig) -> list[str]:
    """The components whose failures are worth a word with repair.

    Those that allow it; all if somebody can be asked, or the mission says how repairs are approved: a dependency
    that is missing takes no agent.
    """
    if not options.repair:
        return []
    from razar.recovery_manager import worth_asking

    everybody = config.repair.approval is not None or worth_asking(os.environ, config.repair.ladder)
    return [one.id for one in config.components if everybody or one.repair is not None]


def build_failure_context(component: str, limit: int = 5) -> dict[str, list[dict[str, Any]]]:
    """The last attempts to repair a component; see :func:`razar.failure_context.build_failure_context`."""
    from razar import failure_context

    return failure_context.build_failure_context(component, limit)


async def _retry_with_ai(component: str, error: str, *, handovers: Handovers, **more: Any) -> Attempt:
    """Make one attempt that is told of the ones before; see :func:`razar.failure_context.retry_with_ai`."""
    from razar import failure_context

    return await failure_context.retry_with_ai(
        component, error, handovers=handovers, build=build_failure_context, **more
    )


if __name__ == "__main__":
    sys.exit(main())
