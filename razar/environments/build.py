"""Making one layer's environment: interpreter, lock, installation, stamp, switch."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from razar.config.model import EnvironmentSpec
from razar.environments import layout, lock
from razar.environments.check import check, environment, intact
from razar.environments.files import remove_tree
from razar.environments.install import install
from razar.environments.interpreter import find_interpreter
from razar.environments.locking import layer_lock
from razar.environments.log import EnvironmentLog, Redaction
from razar.environments.machine import Interpreter, identify, platform_tag
from razar.environments.model import LayerEnvironment, Stale
from razar.environments.requirements import check_spec, parse, secret_variables
from razar.environments.resolve import locked_text
from razar.environments.sources import Source, record
from razar.environments.stamp import FORMAT, Stamp, added, asked, read_stamp, write_stamp
from razar.environments.uv import Uv, find_uv, is_offline, uv_environ

__all__ = ["Options", "build"]


class Options(Struct, frozen=True, kw_only=True):
    """What holds for every layer of a run."""

    root: str
    locked: bool
    offline: bool
    verify: bool
    environ: Mapping[str, str]
    log: EnvironmentLog
    on_progress: Callable[[str, str], None] | None


async def build(spec: EnvironmentSpec, stale: Stale, options: Options) -> LayerEnvironment:
    """Replace an environment that cannot be used; raise LayerError or OSError.

    The one in use stays as it is until the new one is complete.
    """
    started = time.perf_counter()
    root = options.root
    check_spec(spec)
    redact = Redaction(options.environ, secret_variables(spec))

    def note(line: str) -> None:
        options.log.write(spec.layer, redact(line))

    def say(line: str) -> None:
        note(line)
        if options.on_progress is not None and line.strip():
            options.on_progress(spec.layer, redact(line))

    folder = layout.make_layer_folder(root, spec.layer)
    async with layer_lock(folder, lambda holder: say(f"waiting for {holder}, which builds it now")) as waited:
        if waited:
            found = await asyncio.to_thread(check, spec, root, verify=options.verify)
            if not isinstance(found, Stale):
                return msgspec.structs.replace(found, seconds=time.perf_counter() - started)
            stale = found
        say(f"has to be prepared: {stale.reason}")
        uv = Uv(
            find_uv(),
            environ=uv_environ(options.environ),
            folder=root,
            offline=options.offline,
            redact=redact,
            say=say,
            note=note,
        )
        made, digest, new = await _make(spec, stale, options, uv, say)
    warnings = [f"layer {spec.layer}: {stale.reason}; its environment was rebuilt"] if stale.damaged else []
    if options.log.problem:
        warnings.append(options.log.problem)
    took = time.perf_counter() - started
    say(f"{'built' if new else 'found'} {os.path.relpath(made, root)} in {took:.2f} s")
    return environment(spec, made, digest, started, built=new, warnings=tuple(warnings))


async def _make(
    spec: EnvironmentSpec, stale: Stale, options: Options, uv: Uv, say: Callable[[str], None]
) -> tuple[str, str, bool]:
    """Return the folder and digest of the environment, and whether it was built."""
    root = options.root
    requirements = [parse(text, root) for text in spec.dependencies]
    # The one before is kept for a way back, unless it is damaged.
    before = None if stale.damaged else layout.current(root, spec.layer)
    await asyncio.to_thread(layout.prune, root, spec.layer, layout.finished(root, spec.layer))
    python = await find_interpreter(uv, spec.python)
    interpreter = identify(python)
    text = await locked_text(
        spec, requirements, root=root, locked=options.locked, python=python, uv=uv, say=say
    )
    parts = lock.entries(text)
    local = [one for one in requirements if one.path is not None]
    sources: list[Source] = await asyncio.to_thread(lambda: [record(one) for one in local])
    digest = _digest(parts, interpreter, sources)
    stamp = Stamp(
        format=FORMAT,
        digest=digest,
        asked=asked(spec),
        lock=text,
        platform=platform_tag(),
        interpreter=interpreter,
        sources=sources,
        folders=[],
        listings=[],
    )
    folder = await asyncio.to_thread(_reusable, root, spec.layer, stamp)
    new = folder is None
    if folder is None:
        folder = layout.new_folder(root, spec.layer, digest)
        try:
            files = await install(
                uv,
                folder,
                python=python,
                parts=parts,
                local=local,
                prompt=spec.layer,
                offline=is_offline(options.offline, options.environ),
                say=say,
            )
            write_stamp(folder, msgspec.structs.replace(stamp, folders=files[0], listings=files[1]))
        except Exception:
            await asyncio.to_thread(remove_tree, folder)
            raise
    layout.switch(folder)
    keep = {folder, before} if before else {folder}
    for name in await asyncio.to_thread(layout.prune, root, spec.layer, keep):
        say(f"removed the old environment {name}")
    return folder, digest, new


def _digest(parts: lock.Entries, interpreter: Interpreter, sources: list[Source]) -> str:
    import hashlib

    local = sorted((one.portable, one.digest) for one in sources)
    what = [FORMAT, parts, interpreter, platform_tag(), local]
    return hashlib.sha256(msgspec.json.encode(what)).hexdigest()


def _reusable(root: str, layer: str, stamp: Stamp) -> str | None:
    """Return a finished environment with the same content, every file of it read, stamped anew."""
    for folder in layout.complete(root, layer, stamp.digest):
        old = read_stamp(folder)
        if old is None or old.digest != stamp.digest or added(folder, old) or intact(folder, old):
            continue
        write_stamp(folder, msgspec.structs.replace(stamp, folders=old.folders, listings=old.listings))
        return folder
    return None
