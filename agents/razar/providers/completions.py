"""rStar as a repair agent: completions, the prompt as text.

The fields are those of microsoft/rStar, examples/chat_with_tool_call.py. There the prompt is a list of
token ids, which needs the model's tokenizer; vLLM takes a text as well, so the chat template of the model
(that of Qwen, with Hermes tools) is written out here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agents.razar.agent import Task
from agents.razar.proposals.proposal import TOOL, Proposal, tool
from agents.razar.providers import rstar
from agents.razar.providers.material import material
from agents.razar.providers.remote import Remote
from razar.utils.encoding import encode_json

__all__ = ["Completions", "rstar_agent"]

#: Under which vLLM serves the weights if they are not given another name.
_MODEL = "rstar2-reproduce/rStar2-Agent-14B"
_ANSWER = 8192
#: A special token in a text from elsewhere would end the user's turn and begin another one.
_SPECIAL = re.compile(r"<\|(?=[A-Za-z_]{1,40}\|>)")


class Completions(Remote):
    """Asks ``/completions``."""

    def usual_model(self) -> str:
        return _MODEL

    def payload(self, task: Task) -> dict[str, Any]:
        return {
            "model": self.model,
            "prompt": prompt(task),
            "temperature": 1.0,
            "max_tokens": _ANSWER,
            "skip_special_tokens": False,
            "include_stop_str_in_output": True,
        }

    def read(self, reply: Any) -> Proposal:
        """What it weighs in its reasoning is no proposal: that counts from the end of it on."""
        choices = reply.get("choices") if isinstance(reply, dict) else None
        if isinstance(choices, list):
            reply = reply | {"choices": [_concluded(choice) for choice in choices]}
        return super().read(reply)


def _concluded(choice: Any) -> Any:
    text = choice.get("text") if isinstance(choice, dict) else None
    if not isinstance(text, str) or "</reason>" not in text:
        return choice
    return choice | {"text": text.partition("</reason>")[2]}


def prompt(task: Task) -> str:
    """The text of a conversation whose next words are the model's."""
    system = (
        f"{task.instructions}\n\n"
        f"Answer with exactly one call of {TOOL}. Propose the smallest change that repairs the cause.\n\n"
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n"
        f"<tools>\n{encode_json(tool()).decode()}\n</tools>\n\n"
        "For each function call, return a json object with function name and arguments within "
        "<tool_call></tool_call> XML tags:\n<tool_call>\n"
        '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
    )
    user = _SPECIAL.sub("< |", material(task))
    return (
        f"<|im_start|>system\n{_SPECIAL.sub('< |', system)}<|im_end|>\n"
        f"<|im_start|>user\n{user}<|im_end|>\n"
        "<|im_start|>assistant\n<reason>"
    )


def rstar_agent(environ: Mapping[str, str]) -> Completions:
    """RStar as the environment configures it. Raises ConfigurationError."""
    return Completions("rstar", rstar.PROVIDER, environ)
