from collections.abc import Mapping, Sequence
from typing import Any

class KimichoError(Exception):
    """Kimi K2 gave no answer."""

    #: The HTTP status, if there was an answer.
    status: int | None
    #: What the other side calls the error; ``circuit_open`` if it was not asked.
    code: str | None
    #: How long the other side asked to wait, in seconds.
    retry_after: float | None
    #: The requests made.
    attempts: int | None

class ConfigurationError(KimichoError):
    """No endpoint, a bad one, or a model that is not there."""

class AuthenticationError(KimichoError):
    """The key is missing, wrong or not permitted."""

class QuotaError(KimichoError):
    """The balance is used up; it was not tried again."""

class RateLimitError(KimichoError):
    """Too many requests, or no capacity."""

class RequestTimeoutError(KimichoError):
    """A time limit passed."""

class RequestRefusedError(KimichoError):
    """The request was refused: bad fields, too long, or filtered."""

class UpstreamError(KimichoError):
    """The other side failed, or could not be reached."""

class MalformedAnswerError(KimichoError):
    """An answer came and it is not one."""

def init_kimicho(
    endpoint: str | None = None,
    *,
    api_key: str | None = None,
    model: str | None = None,
    timeout: float = 10.0,
) -> None:
    """Configure the client of this process, with a new circuit breaker; nothing is sent.

    What is not given comes from ``KIMI2_ENDPOINT`` (or the older ``KIMI_K2_URL``), ``KIMI2_API_KEY``
    and ``KIMI2_MODEL``. ``endpoint`` is a base URL or a full one; ``timeout`` is for one request, in
    seconds; a call with all its retries takes at most three times as long. Raises ConfigurationError.
    """

def fallback_k2(prompt: str, *, traceparent: str | None = None) -> str:
    """Return what Kimi K2 answers to a prompt. Raises KimichoError."""

def complete(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
    *,
    traceparent: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Return the answer to a conversation: an OpenAI ``chat.completion``.

    Its ``tool_calls`` are there however the model wrote them. ``options`` (``temperature``,
    ``max_tokens``, …) are passed on. Raises KimichoError.
    """
