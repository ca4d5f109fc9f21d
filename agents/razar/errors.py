"""What can go wrong with an agent, and what to do next. No message holds a key."""

from __future__ import annotations

from typing import ClassVar, Literal

__all__ = [
    "AgentError",
    "AgentTimeoutError",
    "AnswerTooLargeError",
    "AuthenticationError",
    "BrokenConnectionError",
    "ConfigurationError",
    "ContentFilteredError",
    "ForbiddenError",
    "NextStep",
    "OverloadedError",
    "ProposalRefusedError",
    "QuotaError",
    "RateLimitError",
    "RedirectError",
    "RequestRefusedError",
    "ServerError",
    "TLSFailedError",
    "TooLongError",
    "UnknownModelError",
    "UnreachableError",
]

#: ``wait``: the time in ``retry_after``, then the same agent; ``back_off``: longer each time, then the
#: same agent; ``shorten``: once more with a shorter context; ``next_agent``: this one will not help;
#: ``operator``: nothing but a changed configuration helps; ``open_breaker``: ask this endpoint nothing
#: more until an operator closes the breaker.
NextStep = Literal["wait", "back_off", "shorten", "next_agent", "operator", "open_breaker"]


class AgentError(Exception):
    """A call to an agent that brought no answer.

    ``retryable``: the same request may succeed later. ``status``: the HTTP status, if there was one.
    ``code``: the type the service gave its error. ``retry_after``: seconds it asked to wait.
    """

    retryable: ClassVar[bool] = False
    next_step: ClassVar[NextStep] = "next_agent"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        #: What had left the machine by then (see agents.razar.agent.Sent).
        self.sent: tuple[object, ...] = ()
        #: Requests that were made by then, and tokens they took, where that was told.
        self.requests = 0
        self.tokens: int | None = None


class ConfigurationError(AgentError):
    """No endpoint, one that is no URL, a key or a payload that cannot be sent."""

    next_step = "operator"


class RedirectError(ConfigurationError):
    """The endpoint points elsewhere. Keys and source go nowhere but where they were meant to go."""


class UnknownModelError(ConfigurationError):
    """404: the model is unknown or retired, or the path is wrong."""


class AuthenticationError(AgentError):
    """401: the key is wrong, or of another platform."""

    next_step = "operator"


class ForbiddenError(AgentError):
    """403: the key is right and may not do this."""

    next_step = "operator"


class RequestRefusedError(AgentError):
    """The service does not take the request: a field, a value, the method."""


class TooLongError(RequestRefusedError):
    """The request is longer than the model takes."""

    next_step = "shorten"


class ContentFilteredError(RequestRefusedError):
    """Moderation refused what was sent or what would have been answered. Code and logs can cause it."""


class RateLimitError(AgentError):
    """429: too many requests or tokens for the plan."""

    retryable = True
    next_step = "wait"


class OverloadedError(AgentError):
    """429 or 503: the service has no capacity for anybody."""

    retryable = True
    next_step = "back_off"


class QuotaError(AgentError):
    """402 or 429: the balance is used up or the account is suspended. Asking again only adds to it."""

    next_step = "open_breaker"


class ServerError(AgentError):
    """5xx: the service failed."""

    retryable = True
    next_step = "back_off"


class UnreachableError(AgentError):
    """No connection: the name does not resolve, nothing listens, the network is down."""

    retryable = True
    next_step = "back_off"


class BrokenConnectionError(AgentError):
    """The connection ended in the middle, or what came is not HTTP."""

    retryable = True
    next_step = "back_off"


class AgentTimeoutError(AgentError):
    """A time limit passed. Not retried at once: the model may have been paid for its work."""

    retryable = True
    next_step = "back_off"


class TLSFailedError(AgentError):
    """The other side could not prove who it is."""

    next_step = "operator"


class AnswerTooLargeError(AgentError):
    """The answer is larger than any proposal may be."""


class ProposalRefusedError(AgentError):
    """An answer came, and no proposal can be taken from it. The message is the reason."""
