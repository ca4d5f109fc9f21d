"""One locked virtual environment per layer: checked in milliseconds, built when it has to be."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from razar.config.model import EnvironmentSpec
from razar.environments.check import check as check_layer
from razar.environments.layout import current
from razar.environments.model import EnvironmentFailure, LayerEnvironment, LayerError, Stale
from razar.environments.stamp import stamp_path

if TYPE_CHECKING:
    from razar.environments.build import Options

__all__ = ["EnvironmentFailure", "LayerEnvironment", "check", "prepare"]

#: A stamp of more bytes than this lists so many files that they are looked at in a thread.
LARGE_STAMP = 1 << 20


def check(
    specs: Sequence[EnvironmentSpec], *, root: str, verify: bool = False
) -> list[LayerEnvironment | None]:
    """Return each layer's environment if it can be used as it is, else None.

    Starts nothing and writes nothing but the times of files that were merely touched. ``root`` is
    the folder of razar_env.yaml. ``verify`` reads every file instead of its size and change time.
    """
    root = os.path.abspath(root)
    found = [_check(spec, root, verify) for spec in specs]
    return [one if isinstance(one, LayerEnvironment) else None for one in found]


def _check(spec: EnvironmentSpec, root: str, verify: bool) -> LayerEnvironment | Stale:
    try:
        return check_layer(spec, root, verify=verify)
    except OSError as error:
        return Stale(reason=f"{error.filename} cannot be read ({error.strerror})")
    except ValueError as error:
        return Stale(reason=str(error))  # A name no file can have.


def _is_large(root: str, layer: str) -> bool:
    folder = current(root, layer)
    try:
        return folder is not None and os.stat(stamp_path(folder)).st_size > LARGE_STAMP
    except OSError:
        return False


async def prepare(
    specs: Sequence[EnvironmentSpec],
    *,
    root: str,
    log: str,
    environ: Mapping[str, str],
    locked: bool = False,
    offline: bool = False,
    verify: bool = False,
    on_progress: Callable[[str, str], None] | None = None,
) -> list[LayerEnvironment | EnvironmentFailure]:
    """Give every layer a usable environment; the answers come in the order of ``specs``.

    Layers that are unchanged cost a look at their files; the others are built at the same time,
    as many as there are processors. One that fails does not stop the others and leaves its old
    environment in place. ``locked`` refuses a lock file that is missing or stale, ``offline``
    uses uv's cache alone, ``log`` is the path of the environment log, ``on_progress`` is called
    with (layer, line). No exception is raised for anything but a cancellation.
    """
    root = os.path.abspath(root)
    found: list[LayerEnvironment | Stale] = []
    for spec in specs:
        if verify or _is_large(root, spec.layer):
            found.append(await asyncio.to_thread(_check, spec, root, verify))
        else:
            found.append(_check(spec, root, verify))
            await asyncio.sleep(0)
    results: list[LayerEnvironment | EnvironmentFailure | None] = [
        one if isinstance(one, LayerEnvironment) else None for one in found
    ]
    if None in results:
        from razar.environments.build import Options
        from razar.environments.log import EnvironmentLog

        options = Options(
            root=root,
            locked=locked,
            offline=offline,
            verify=verify,
            environ=environ,
            log=EnvironmentLog(log),
            on_progress=on_progress,
        )
        gate = asyncio.Semaphore(max(2, min(8, os.cpu_count() or 2)))

        async def replace(index: int, spec: EnvironmentSpec, state: Stale) -> None:
            async with gate:
                results[index] = await _build(spec, state, options)

        try:
            async with asyncio.TaskGroup() as group:
                for index, (spec, state) in enumerate(zip(specs, found, strict=True)):
                    if not isinstance(state, LayerEnvironment):
                        group.create_task(replace(index, spec, state))
        finally:
            options.log.close()
    return [result for result in results if result is not None]


async def _build(
    spec: EnvironmentSpec, state: Stale, options: Options
) -> LayerEnvironment | EnvironmentFailure:
    from razar.environments.build import build

    started = time.perf_counter()
    try:
        return await build(spec, state, options)
    except (LayerError, OSError, UnicodeError) as error:
        text = _cannot(error) if isinstance(error, OSError) else str(error)
        damage = f" The old one cannot be used: {state.reason}." if state.damaged else ""
        message = f"layer {spec.layer}: {text.rstrip('.')}.{damage}"
        options.log.write(spec.layer, message)
        where = f"({options.log.problem})" if options.log.problem else f"All output is in {options.log.path}."
        return EnvironmentFailure(
            layer=spec.layer, message=f"{message} {where}", seconds=time.perf_counter() - started
        )


def _cannot(error: OSError) -> str:
    """Say what the system refused, and what helps."""
    advice = {
        errno.ENOSPC: "free some space on that disk",
        errno.EDQUOT: "free some of this user's quota",
        errno.EROFS: "the environments lie beside razar_env.yaml, which must be on a writable disk",
        errno.EACCES: "give this user the right to write there",
        errno.EPERM: "give this user the right to write there",
        errno.ENOTDIR: "a file stands where a folder is needed; move it away",
        errno.EEXIST: "a file stands where a folder is needed; move it away",
    }.get(error.errno or 0)
    place = f" {error.filename}" if error.filename else ""
    return f"its environment cannot be written: {error.strerror}{place}" + (f"; {advice}" if advice else "")
