from collections.abc import Callable, Mapping, Sequence
from typing import Any

class CrownError(Exception):
    """There is no answer."""

    #: The HTTP status that says so.
    status: int | None
    #: The name of the reason.
    code: str | None
    #: What was tried, in order.
    trail: list[dict[str, Any]] | None

class ConfigurationError(CrownError):
    """The configuration cannot be used."""

    #: Every reason, each with its place.
    faults: list[str] | None

class InvalidRequestError(CrownError):
    """The request is not one that can be answered."""

class RefusedError(CrownError):
    """A policy, a rule or a servant refused the request."""

class NoAnswerError(CrownError):
    """Everybody who could be asked failed."""

class Router:
    """Servants, rules and health.

    For what ``config`` does not say the environment is asked (``SERVANT_MODELS``, ``KIMI2_ENDPOINT``, …).
    Raises ConfigurationError with every fault at once.
    """

    def __new__(cls, config: Mapping[str, Any] | None = None) -> Router: ...
    def route_decision(self, text: str, context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Decide who answers a text, without asking anybody.

        Returns ``{model, servant, reason, memory, core, latency_seconds}``; ``servant`` is None if nobody
        is healthy. Raises InvalidRequestError, RefusedError.
        """

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        context: Mapping[str, Any] | None = None,
        model: str | None = None,
        traceparent: str | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Have a conversation answered: an OpenAI ``chat.completion`` with a ``crown`` object.

        ``crown`` tells who answered, why, and what was tried. ``model`` pins a servant or model.
        Raises CrownError; NoAnswerError has the trail.
        """

    def status(self) -> list[dict[str, Any]]:
        """Return how every servant does, as requests and looks have shown."""

    def check(self) -> list[dict[str, Any]]:
        """Look at every servant now, at most 2 s each, and return how they do."""

class Gateway:
    """An HTTP server over a router; it listens as soon as it is made.

    Limits: ``max_body`` bytes, times in seconds. It makes spans if an OpenTelemetry SDK is loaded by then.
    Raises ConfigurationError, and OSError if it cannot listen.
    """

    def __new__(
        cls,
        router: Router,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        token: str | None = None,
        max_body: int = ...,
        header_timeout: float = 30.0,
        body_timeout: float = 30.0,
        max_connections: int = 16384,
        grace: float = 30.0,
        probe_interval: float = 10.0,
    ) -> Gateway: ...
    @property
    def url(self) -> str:
        """The URL it listens at."""

    @property
    def port(self) -> int:
        """The port it listens at."""

    def run(self) -> None:
        """Serve until ``stop`` is called from another thread. Can be called once. Raises OSError."""

    def stop(self) -> None:
        """Finish what is under way and end; called again, end at once."""

def serve(
    config: Router | Mapping[str, Any] | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    ready: Callable[[Gateway], None] | None = None,
    **limits: Any,
) -> None:
    """Serve until SIGINT or SIGTERM, or until ``stop`` is called on what ``ready`` is given."""
