"""The shape of boot_config.json as a person writes it: short forms, object forms, texts for durations.

These types are the one source of what the file may hold. They decode it; the JSON Schema, the
reference of keys and the words of a fault are derived from them. The text below a field is its
documentation: kept out of the annotations, it costs nothing when a mission starts.
``Meta.extra`` holds what a fault needs beyond that: ``expected``, and ``secret`` for values
that are never shown.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = [
    "BootConfigFile",
    "BudgetEntry",
    "ComponentEntry",
    "CrownEntry",
    "DependencyEntry",
    "Entry",
    "LimitsEntry",
    "ProbeEntry",
    "RepairEntry",
    "RepairScopeEntry",
    "RestartEntry",
    "StopEntry",
    "is_set",
]

#: Longest duration accepted, in seconds: a year. Anything above is a slip of the pen.
LONGEST = 365 * 24 * 3600

# A bare "$" also matches before a final line break in Python; the look-ahead closes that in
# Python and in ECMAScript, the dialect of JSON Schema.
END = r"$(?!\n)"

Name = Annotated[
    str,
    Meta(
        pattern="^[a-z0-9][a-z0-9_-]{0,62}" + END,
        extra={"expected": "1 to 63 characters out of a-z, 0-9, _ and -, the first a letter or digit"},
    ),
]
Label = Annotated[
    str,
    Meta(
        pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,62}" + END,
        extra={
            "expected": "1 to 63 characters out of A-Z, a-z, 0-9, ., _ and -, the first a letter or digit"
        },
    ),
]
Duration = Annotated[
    Annotated[float, Meta(ge=0, le=LONGEST)]
    | Annotated[str, Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,9})?(ms|s|m|h)" + END)],
    Meta(extra={"expected": 'a duration up to a year: seconds, or a text like "250ms", "10s", "5m", "1h"'}),
]
Size = Annotated[
    Annotated[int, Meta(ge=1, le=2**60)]
    | Annotated[str, Meta(pattern=r"^[0-9]{1,18}(\.[0-9]{1,9})?[KMGT]?" + END)],
    Meta(extra={"expected": 'a size: bytes, or a text like "512M" or "2G" (in steps of 1024)'}),
]
Command = Annotated[
    str | Annotated[list[str], Meta(min_length=1)],
    Meta(extra={"expected": "a command: a text, split as a POSIX shell splits words, or a list of words"}),
]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Positive = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Tokens = Annotated[int, Meta(ge=0, le=10**12)]
Processors = Annotated[float, Meta(gt=0, le=100_000)]
Variable = Annotated[
    str, Meta(pattern=r"^[^=\x00]+" + END, extra={"expected": 'the name of a variable, without "="'})
]
Value = Annotated[
    str | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)],
    Meta(extra={"expected": "a text or a whole number"}),
]
Variables = Annotated[
    dict[Variable, Value],
    Meta(extra={"secret": True, "expected": "an object of variable names and texts"}),
]


def is_set(value: object) -> bool:
    """Tell whether a field holds a value: an optional one may be left out, a required one may be faulty."""
    return value is not UNSET


class Entry(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """An object of the file; a key it does not know is a fault."""


class ProbeEntry(Entry, kw_only=True):
    """A probe in object form: exactly one kind of probe, and how it is used."""

    http: str | UnsetType = UNSET
    """URL that answers 2xx, like `http://localhost:8000/healthz`."""
    tcp: str | UnsetType = UNSET
    """`host:port` that accepts a connection."""
    grpc: str | UnsetType = UNSET
    """`host:port` whose gRPC health service answers SERVING."""
    ws: str | UnsetType = UNSET
    """`ws://` or `wss://` URL that accepts a websocket."""
    file: str | UnsetType = UNSET
    """Path of a file that exists and was written after this launch."""
    cmd: Command | UnsetType = UNSET
    """Command that exits 0; no shell is started."""
    log: str | UnsetType = UNSET
    """Regular expression that matches a log line written since this launch."""
    notify: bool | UnsetType = UNSET
    """`true`: the component sends READY=1 to $NOTIFY_SOCKET."""
    exit: bool | UnsetType = UNSET
    """`true`: the task exits 0."""
    expect: str | UnsetType = UNSET
    """CEL expression over the answer of `http`, `grpc`, `ws` or `cmd`: `status`, `headers` (names in small
    letters), `body`, `json`, `elapsed` (seconds, a double)."""
    interval: Duration = "10s"
    """Period of the liveness probe once the component is healthy."""
    timeout: Duration = "1s"
    """Time limit of one probe."""
    deadline: Duration = "60s"
    """Time to become healthy."""
    failures: Positive = 3
    """Failures in a row that mean unhealthy."""
    successes: Positive = 1
    """Passes in a row that mean healthy."""


#: The short forms, for editors; a variable may hide any of them.
SHORT_PROBE = r"^(https?://|tcp://|grpc://|wss?://|/|\.\.?/|cmd:|log:|notify$|exit$)|\$\{"
Health = Annotated[
    Annotated[str, Meta(extra_json_schema={"pattern": SHORT_PROBE})] | ProbeEntry,
    Meta(
        extra={
            "expected": 'a health probe: "http://…", "tcp://host:port", "grpc://host:port", "ws://…", a path '
            'that starts with / or ./, "cmd: …", "log: REGEX", "notify", "exit" (tasks) or an object'
        }
    ),
]


class DependencyEntry(Entry, kw_only=True):
    """A dependency with the condition to wait for."""

    id: Name
    """Component to wait for."""
    condition: Literal["healthy", "started", "completed"] = "healthy"
    """What it must have reached; `completed` is an exit with 0."""


class RestartEntry(Entry, kw_only=True):
    """When a component that died is started again. The pause doubles from `backoff` to
    `max_backoff` with 10 % jitter, and starts afresh after 30 s of health."""

    policy: Literal["on-failure", "always", "never"] = "on-failure"
    """Which deaths lead to a restart."""
    backoff: Duration = "500ms"
    """First pause."""
    max_backoff: Duration = "30s"
    """Longest pause."""
    limit: Count = 5
    """Restarts allowed within `window`."""
    window: Duration = "10m"
    """Time over which `limit` counts."""


class StopEntry(Entry, kw_only=True):
    """How a component is asked to stop; the whole process group and every descendant are meant."""

    signal: str = "TERM"
    """Name of the first signal, with or without `SIG`; KILL follows."""
    grace: Duration = "10s"
    """Time between the first signal and KILL."""


class RepairScopeEntry(Entry, kw_only=True):
    """What repair agents may do to a component."""

    paths: list[str] = []
    """Globs of the files they may change, inside this file's folder. None: nothing is changed."""
    tests: list[Command] = []
    """Commands that must exit 0 after a patch."""
    approval: Literal["auto", "ask", "never"] | UnsetType = UNSET
    """Whether a patch that passed is applied, asked about, or only shown. Left out: as the mission's
    `repair.approval` says, else `auto`."""


class LimitsEntry(Entry, kw_only=True):
    """Resource limits; what is left out is inherited."""

    memory: Size | UnsetType = UNSET
    """Private memory of each process: bytes, or a text like `512M` or `2G` (K is 1024 bytes)."""
    cpu: Processors | UnsetType = UNSET
    """Processors it may use, rounded up to whole ones."""
    files: Positive | UnsetType = UNSET
    """Open files of each process."""
    processes: Positive | UnsetType = UNSET
    """Processes and threads of the user it runs as."""


class ComponentEntry(Entry, kw_only=True):
    """A component: `id`, `layer`, `entrypoint` and `health` are enough."""

    id: Name
    """Unique name of the component."""
    layer: Label
    """Layer of razar_env.yaml; one with no entry there gets the interpreter that runs RAZAR."""
    entrypoint: Command
    """Command to run: a text, split as a POSIX shell splits words (no shell is started), or a list of
    words. `python` means the layer's interpreter."""
    health: Health
    """Health probe: a short form or an object."""
    kind: Literal["service", "task"] = "service"
    """A service keeps running; a task must exit 0."""
    depends_on: list[Name | DependencyEntry] = []
    """Components to wait for: ids, or objects with a condition."""
    criticality: Literal["required", "optional"] = "required"
    """An optional component that fails never fails the mission."""
    when: str = "true"
    """CEL expression over `env`, `mission`, `layer` and `crown.capabilities`; if it is false the
    component is skipped."""
    env: Variables = {}
    """Variables added to the environment. They win over `env_file`."""
    env_file: str | UnsetType = UNSET
    """File of `KEY=VALUE` lines added to the environment."""
    cwd: str = "."
    """Working folder."""
    restart: RestartEntry | UnsetType = UNSET
    """When it is started again after it died."""
    stop: StopEntry | UnsetType = UNSET
    """How it is asked to stop."""
    retries: Count = 2
    """Ignition attempts after the first, before repair."""
    repair: RepairScopeEntry | UnsetType = UNSET
    """What repair agents may do to it. Left out: nothing."""
    limits: LimitsEntry | UnsetType = UNSET
    """Resource limits."""


Components = Annotated[
    list[ComponentEntry],
    Meta(min_length=1, extra={"expected": "a list of components, at least one"}),
]


class CrownEntry(Entry, kw_only=True):
    """With whom the mission is agreed."""

    url: str | UnsetType = UNSET
    """`ws://` or `wss://` URL. Left out: $CROWN_WS_URL; without that too: the embedded Crown."""
    policy: Literal["required", "optional", "off"] = "required"
    """Whether the boot needs Crown's agreement."""
    timeout: Duration = "10s"
    """Time limit to connect, to send and to receive."""
    required_model: str | None = "GLM-4.1V"
    """Capability without which the model launcher runs; `null`: none."""
    model_launcher: str | UnsetType = UNSET
    """Program that starts the model. Left out: `scripts/crown_model_launcher.sh`."""


class BudgetEntry(Entry, kw_only=True):
    """What the repair agents may use up in one mission."""

    requests: Count | UnsetType = UNSET
    """Requests to agents."""
    tokens: Tokens | UnsetType = UNSET
    """Tokens sent and received."""
    seconds: Duration | UnsetType = UNSET
    """Time spent waiting for agents."""
    concurrent: Positive | UnsetType = UNSET
    """Repairs at the same time."""


class RepairEntry(Entry, kw_only=True):
    """Repair settings of the whole mission."""

    ladder: list[Label] | UnsetType = UNSET
    """Agents in the order in which they are asked: `memory`, `opencode`, `acp`, `kimi2`, `airstar`, `rstar`."""
    attempts: Count | UnsetType = UNSET
    """Repair attempts for one component before quarantine."""
    budget: BudgetEntry | UnsetType = UNSET
    """Limits on what the agents use up."""
    approval: Literal["auto", "ask", "never"] | UnsetType = UNSET
    """Approval for the components that do not name one."""


class BootConfigFile(Entry, kw_only=True):
    """boot_config.json: a mission and its components."""

    mission: Name
    """Name of the mission."""
    components: Components
    """The components, in the order of ignition."""
    ignition: Literal["sequential", "parallel"] = "sequential"
    """One by one in order, or each as soon as what it depends on is healthy."""
    crown: CrownEntry | UnsetType = UNSET
    """With whom the mission is agreed."""
    repair: RepairEntry | UnsetType = UNSET
    """Repair settings of the whole mission."""
