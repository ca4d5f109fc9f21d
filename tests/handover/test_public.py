"""``agents.razar.ai_invoker.handover`` as a script calls it, with the real agents and a real supervisor."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.razar import one_handover
from agents.razar.ai_invoker import handover
from agents.razar.one_handover import UnknownComponentError
from razar.config.faults import ConfigurationError
from tests.commands.mission import Folder, running
from tests.handover.support import APP, FIX, FIXED, Server, edit, proposal
from tests.repair.support import TEST
from tests.support.descriptors import none_left_open

TESTS = [
    ["python", "-c", "import sys, runpy; sys.path.insert(0, 'src'); runpy.run_path('checks/try_app.py')"]
]


def chat(*edits: Any) -> dict[str, Any]:
    """A chat completion that proposes a patch."""
    call = {"name": "propose_patch", "arguments": msgspec.json.encode(proposal(*edits)).decode()}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "type": "function", "function": call}],
    }
    return {
        "model": "kimi-test",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 1200, "completion_tokens": 34, "total_tokens": 1234},
    }


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent but those of the test, and nothing used up by others."""
    for name in (
        "OPENCODE_BIN",
        "OPENCODE_BACKEND",
        "RAZAR_ACP_COMMAND",
        "KIMI2_MODEL",
        "RAZAR_RSTAR_THRESHOLD",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("AIRSTAR_ENDPOINT", "RSTAR_ENDPOINT", "KIMI2_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KIMI2_API_KEY", "the-key-of-kimi-2")
    monkeypatch.setattr(one_handover, "_spent", {})


def mission(root: Path, **repair: Any) -> Path:
    """A folder with a component that is broken, for nobody to run yet."""
    (root / "src").mkdir()
    (root / "checks").mkdir()
    (root / "src" / "app.py").write_text(APP)
    (root / "checks" / "try_app.py").write_text(TEST)
    component = {
        "id": "adder",
        "layer": "core",
        "entrypoint": "python src/app.py",
        "health": "log: ready",
        "repair": {"paths": ["src/**"], **repair},
    }
    path = root / "boot_config.json"
    path.write_text(json.dumps({"mission": "demo", "components": [component]}))
    return path


def records(root: Path) -> list[dict[str, Any]]:
    path = root / "logs" / "razar_ai_invocations.json"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_tests_prove_a_patch_where_no_supervisor_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mission(tmp_path, tests=TESTS)
    monkeypatch.chdir(tmp_path)
    with Server(lambda number, body: chat()) as server:
        monkeypatch.setenv("KIMI2_ENDPOINT", server.url)
        result = handover("adder", "add gave -1", context={"seen_in": "the night shift"})
    assert result, result.reason
    assert (result.outcome, result.agent, result.attempt, result.tokens) == ("repaired", "kimi2", 1, 1234)
    assert "its tests passed, and no supervisor runs" in result.reason and "+    return a + b" in result.diff
    assert (tmp_path / "src" / "app.py").read_text() == FIXED
    (record,) = records(tmp_path)
    assert record["patched"] is True and record["patch_id"] == result.patch_id and record["tokens"] == 1234
    assert b"the night shift" in server.requests[0]
    assert b"the-key-of-kimi-2" in server.requests[0].partition(b"\n\n")[0]
    assert b"the-key-of-kimi-2" not in server.requests[0].partition(b"\n\n")[2]


def test_without_tests_and_supervisor_it_stays_a_proposal(tmp_path: Path) -> None:
    path = mission(tmp_path)
    with Server(lambda number, body: chat()) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KIMI2_ENDPOINT", server.url)
            result = handover("adder", RuntimeError("add gave -1"), config_path=path)
            assert not result and result.outcome == "proposed" and "waits for approval" in result.reason
            again = handover("adder", "add gave -1", config_path=path)
    assert (tmp_path / "src" / "app.py").read_text() == APP
    assert not again and "seen before" in again.reason and len(server.requests) == 2


def test_it_lets_go_of_all_it_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIMI2_API_KEY")
    monkeypatch.setenv("KIMI2_ENDPOINT", "not an address")
    path = mission(tmp_path)
    for _ in range(2):  # The first one opens what is kept for good.
        with none_left_open():
            handover("adder", "add gave -1", config_path=path)


def test_it_never_raises_for_what_an_agent_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mission(tmp_path, tests=TESTS)
    answers: list[Any] = [
        (500, {}),
        {"choices": []},
        {"choices": [{"message": {"content": "sorry"}, "finish_reason": "stop"}]},
        chat(edit(path="../outside.py")),
        chat(edit(path="checks/try_app.py", old=TEST, new="")),
        (401, {"error": {"type": "invalid_authentication_error", "message": "the-key-of-kimi-2 is wrong"}}),
    ]
    with Server(lambda number, body: answers[number - 1]) as server:
        monkeypatch.setenv("KIMI2_ENDPOINT", server.url)
        results = [handover("adder", "add gave -1", config_path=path) for _ in answers]
        last = handover("adder", "add gave -1", config_path=path)
    assert [result.outcome for result in results] == [
        "failed",
        "refused",
        "refused",
        "refused",
        "refused",
        "failed",
    ]
    assert not any(results) and all(result.reason for result in results)
    assert not any("the-key-of-kimi-2" in repr(result) for result in results)
    assert (
        last.outcome == "exhausted" and "does not accept the key" in last.reason and last.packet is not None
    )
    assert len(server.requests) == len(answers)
    assert (tmp_path / "src" / "app.py").read_text() == APP


def test_what_was_used_up_counts_for_as_long_as_the_process_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mission(tmp_path, tests=TESTS)
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"repair": {"budget": {"requests": 2}}}))
    with Server(lambda number, body: (503, {})) as server:
        monkeypatch.setenv("KIMI2_ENDPOINT", server.url)
        outcomes = [handover("adder", "e", config_path=path).outcome for _ in range(3)]
    assert outcomes == ["failed", "failed", "exhausted"] and len(server.requests) == 2


def test_opencode_is_asked_first_if_it_is_to_be_and_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mission(tmp_path, tests=TESTS)
    monkeypatch.setenv("OPENCODE_BIN", str(tmp_path / "is-not-there"))
    with Server(lambda number, body: chat()) as server:
        monkeypatch.setenv("KIMI2_ENDPOINT", server.url)
        config = json.loads(path.read_text())
        path.write_text(json.dumps(config | {"repair": {"ladder": ["memory", "kimi2"]}}))
        result = handover("adder", "add gave -1", use_opencode=True, config_path=path)
    assert result and result.agent == "kimi2"
    assert [record["event"] for record in records(tmp_path)] == ["escalation", "attempt"]
    assert records(tmp_path)[0]["reason"].startswith("opencode: opencode is not there")
    # What could not be asked was no attempt.
    assert result.attempt == 1


def test_inside_a_running_loop_it_blocks_and_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mission(tmp_path, tests=TESTS)

    async def inside() -> Any:
        return handover("adder", "add gave -1", config_path=path)

    with Server(lambda number, body: chat()) as server:
        monkeypatch.setenv("KIMI2_ENDPOINT", server.url)
        assert asyncio.run(inside())


def test_logs_that_cannot_be_written_are_a_reason_and_no_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mission(tmp_path, tests=TESTS)
    (tmp_path / "logs").write_text("a file in the place of the folder")
    with Server(lambda number, body: chat()) as server:
        monkeypatch.setenv("KIMI2_ENDPOINT", server.url)
        result = handover("adder", "add gave -1", config_path=path)
        assert not result and result.outcome == "failed" and "can be recorded" in result.reason
        (tmp_path / "logs").unlink()
        (tmp_path / "logs" / "repairs").mkdir(parents=True)
        (tmp_path / "logs" / "repairs" / "handovers").write_text("no folder either")
        result = handover("adder", "add gave -1", config_path=path)
        assert not result and "can be recorded" in result.reason
        assert server.requests == []


def test_two_at_once_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mission(tmp_path, tests=TESTS)
    results: list[Any] = []
    with Server(lambda number, body: chat()) as server:
        monkeypatch.setenv("KIMI2_ENDPOINT", server.url)
        threads = [
            threading.Thread(
                target=lambda: results.append(handover("adder", "add gave -1", config_path=path))
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    # The second finds the text of the first in its place.
    assert sorted(result.outcome for result in results) == ["refused", "repaired"]
    assert (tmp_path / "src" / "app.py").read_text() == FIXED


def test_bad_arguments_and_configurations_are_clear_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mission(tmp_path)
    with pytest.raises(UnknownComponentError, match=r"mission demo has no component 'ader'; it has adder"):
        handover("ader", "e", config_path=path)
    with pytest.raises(TypeError):
        handover("", "e", config_path=path)
    with pytest.raises(TypeError):
        handover("adder", "e", context=[1], config_path=path)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        handover("adder", "e", config_path=tmp_path / "nothing.json")
    path.write_text("{")
    with pytest.raises(ConfigurationError):
        handover("adder", "e", config_path=path)
    monkeypatch.chdir(tmp_path / "src")
    with pytest.raises(ConfigurationError):
        handover("adder", "e")


SERVICE = {
    "layer": "core",
    "entrypoint": ["python", "-I", "-S", "src/app.py"],
    "health": "log: ready 3",
    "retries": 0,
    "restart": {"policy": "never"},
    "criticality": "optional",
    "repair": {"paths": ["src/**"]},
}
PROGRAM = (
    APP.replace("print(add(1, 2))", "print('ready', add(1, 2), flush=True)")
    + """

if __name__ == '__main__':
    import time

    main()
    time.sleep(1000 if add(1, 2) == 3 else 0)
    raise SystemExit(1)
"""
)


def supervised(root: Path) -> AbstractContextManager[Folder]:
    (root / "src").mkdir()
    (root / "src" / "app.py").write_text(PROGRAM)
    web = {
        "id": "web", "layer": "core", "entrypoint": ["sh", "-c", "echo ready; exec sleep 1000"],
        "health": "log: ready", "retries": 0,
    }  # fmt: skip
    return running(root, {"id": "adder", **SERVICE}, web)


def test_a_running_mission_relaunches_the_component_and_its_probe_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = edit(new="    return a * b\n")
    with (
        supervised(tmp_path) as folder,
        Server(lambda number, body: chat(*([wrong] if number == 1 else []))) as server,
    ):
        assert folder.component("adder")["state"] == "quarantined"
        monkeypatch.setenv("KIMI2_ENDPOINT", server.url)
        first = handover("adder", "exited with 255", config_path=tmp_path / "boot_config.json")
        assert (first.outcome, bool(first)) == ("undone", False), first.reason
        assert (tmp_path / "src" / "app.py").read_text() == PROGRAM
        second = handover("adder", "exited with 255", config_path=tmp_path / "boot_config.json")
        assert second and "relaunched and is healthy" in second.reason
        assert folder.component("adder")["state"] == "running"
        assert folder.component("web")["incarnation"] == 1
    assert (tmp_path / "src" / "app.py").read_text() == PROGRAM.replace(*FIX)
    assert [(r["attempt"], r["patched"]) for r in records(tmp_path)] == [(1, False), (2, True)]
