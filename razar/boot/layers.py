"""The environments of a boot's layers: built before the first ignition, and again when a repair asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from razar.boot.options import BootOptions
from razar.boot.outputs import Outputs
from razar.config.model import EnvironmentSpec, MissionConfig
from razar.engine import events
from razar.engine.events import Event

__all__ = ["Layers"]


class Layers:
    """Builds environments; ``use`` is told the layer, its interpreter and its folder of scripts."""

    def __init__(
        self,
        options: BootOptions,
        config: MissionConfig,
        specs: Sequence[EnvironmentSpec],
        *,
        logs: str,
        environ: Mapping[str, str],
        outputs: Outputs,
        clock: Callable[[], float],
        report: Callable[[Event], None],
        use: Callable[[str, str, str], None],
    ) -> None:
        self._options = options
        self._config = config
        used = {component.layer for component in config.components}
        self._specs = [spec for spec in specs if spec.layer in used]
        self._logs = logs
        self._environ = environ
        self._out = outputs
        self._clock = clock
        self._report = report
        self._use = use

    async def build(self) -> list[str]:
        """Build what every layer lacks, several at once; return why those that failed did."""
        return await self._build(self._specs) if self._specs else []

    async def rebuild(self, layer: str) -> str | None:
        """Read the file again, which a repair has changed, and build one layer; return why it failed."""
        from razar.config.environments import load_environments
        from razar.config.faults import ConfigurationError

        path = self._options.environments or os.path.join(self._config.root, "razar_env.yaml")
        try:
            specs = [spec for spec in load_environments(path, required=True) if spec.layer == layer]
        except ConfigurationError as error:
            return str(error)
        failures = await self._build(specs)
        return "\n".join(failures) or None

    async def _build(self, specs: Sequence[EnvironmentSpec]) -> list[str]:
        import razar.environment_builder as environment_builder

        began = self._clock()
        results = await environment_builder.prepare(
            specs,
            root=self._config.root,
            locked=self._options.locked,
            offline=self._options.offline,
            verify=self._options.verify,
            log=os.path.join(self._logs, "environments.log"),
            on_progress=self._out.progress,
            environ=self._environ,
        )
        failures = []
        for result in results:
            if isinstance(result, environment_builder.LayerEnvironment):
                self._use(result.layer, result.python, result.bin)
                event = events.EnvironmentPrepared(
                    result.layer, result.outcome, result.seconds, result.digest
                )
                for warning in result.warnings:
                    self._out.say("WARN", warning)
            else:
                failures.append(result.message)
                event = events.EnvironmentPrepared(
                    result.layer, "failed", result.seconds, error=result.message
                )
            self._report(event)
            self._out.environment(event, began)
        return failures
