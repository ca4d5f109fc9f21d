"""A proposal in; a verified change that can be undone out."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import msgspec
import pytest

from agents.razar.code_repair import approve, keep, recover, reject, rollback
from agents.razar.patching import journal, transaction
from agents.razar.patching.refusal import Refusal
from agents.razar.patching.sandbox import CommandLimits
from razar.utils.digests import sha256_hex
from tests.repair.support import APP, FIX, Mission, content, edit
from tests.support.waiting import until

FIXED = APP.replace(*FIX)


async def test_a_patch_that_passes_is_applied_and_recorded(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    mission.app.chmod(0o751)
    outcome = await mission.repair(edit(), attempt=3, agent="kimi2")
    assert outcome, outcome.reason
    assert mission.app.read_text() == FIXED
    assert mission.app.stat().st_mode & 0o7777 == 0o751
    assert outcome.proven == ("src/app.py",)
    assert outcome.protection["mode"] in ("bubblewrap", "namespaces", "landlock", "limits")
    (record,) = mission.records()
    assert list(record) == (
        "component attempt agent id status reason diff files tests timestamp timestamp_iso".split()
    )
    assert (record["component"], record["attempt"], record["agent"]) == ("adder", 3, "kimi2")
    assert record["status"] == "applied" and "-    return a - b\n+    return a + b\n" in record["diff"]
    (file,) = record["files"]
    assert file == {
        "path": "src/app.py",
        "sha256_before": sha256_hex(APP.encode()),
        "sha256_after": sha256_hex(FIXED.encode()),
    }
    (run,) = record["tests"]
    assert list(run) == ["command", "exit", "seconds"] and run["exit"] == 0


async def test_kept_patches_stay_and_leave_nothing_beside_the_source(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    outcome = await mission.repair(edit())
    keep(outcome.id, logs=str(mission.logs))
    assert recover(str(mission.logs)) == []
    assert mission.app.read_text() == FIXED
    assert sorted(os.listdir(mission.root / "src")) == ["app.py"]
    assert not (mission.logs / "repairs" / outcome.id / "work").exists()


async def test_rollback_restores_bytes_and_modes_and_removes_new_files(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    mission.app.chmod(0o604)
    before = mission.files()
    helper = content("src/helper.py", "def add(a, b):\n    return a + b\n")
    new = "    from helper import add as really\n    return really(a, b)\n"
    outcome = await mission.repair(edit(new=new), helper)
    assert outcome, outcome.reason
    assert (mission.root / "src" / "helper.py").exists()
    mission.app.chmod(0o600)
    assert rollback(outcome.id, logs=str(mission.logs)) == ()
    assert mission.files() == before
    assert rollback(outcome.id, logs=str(mission.logs)) == ()
    assert [record["status"] for record in mission.records()] == ["applied", "rolled_back"]


async def test_a_kept_patch_can_be_reverted_later(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    before = mission.files()
    outcome = await mission.repair(edit())
    keep(outcome.id, logs=str(mission.logs))
    rollback(outcome.id, logs=str(mission.logs))
    assert mission.files() == before
    assert [record["status"] for record in mission.records()] == ["applied", "reverted"]


async def test_what_somebody_else_wrote_meanwhile_is_saved_before_the_rollback(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    outcome = await mission.repair(edit())
    mission.app.write_text("# mine\n")
    assert rollback(outcome.id, logs=str(mission.logs)) == ("src/app.py",)
    assert mission.app.read_text() == APP
    assert (mission.logs / "repairs" / outcome.id / "found" / "0").read_text() == "# mine\n"


async def test_recover_undoes_what_was_not_kept(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    before = mission.files()
    outcome = await mission.repair(edit())
    assert recover(str(mission.logs)) == [outcome.id]
    assert mission.files() == before
    assert mission.records()[-1]["status"] == "rolled_back"
    assert recover(str(mission.logs)) == []


async def test_a_failing_test_refuses_the_patch_and_says_how(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    reason = await mission.refused(edit(new="    return a * b\n"))
    assert "exited with 1; it fails without the patch too" in reason
    assert "add gave 2" in reason


async def test_a_test_that_passed_before_must_still_pass(tmp_path: Path) -> None:
    mission = Mission(tmp_path, app=FIXED)
    reason = await mission.refused(edit(old=FIX[1], new="    return a * b\n"))
    assert "it passes without the patch" in reason


async def test_tests_that_never_open_the_patched_file_prove_nothing(tmp_path: Path) -> None:
    mission = Mission(tmp_path, test="print('all is well')\n")
    assert "no test opened 'src/app.py'" in await mission.refused(edit())


async def test_tests_that_bring_their_own_copy_prove_nothing(tmp_path: Path) -> None:
    rewrite = "open('src/app.py', 'a').write('#')\nimport app\n"
    mission = Mission(tmp_path, test=rewrite)
    assert "the tests changed 'src/app.py'" in await mission.refused(edit())


async def test_stale_bytecode_beside_the_source_is_not_what_runs(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    import py_compile

    cache = mission.root / "src" / "__pycache__" / "app.cpython-311.pyc"
    py_compile.compile(
        str(mission.app), str(cache), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    assert await mission.repair(edit())


async def test_an_endless_test_is_killed(tmp_path: Path) -> None:
    mission = Mission(tmp_path, test="import app\nwhile True: pass\n")
    reason = await mission.refused(edit(), limits=CommandLimits(seconds=3))
    assert "did not end in time" in reason


async def test_without_tests_only_the_probe_can_tell(tmp_path: Path) -> None:
    outcome = await Mission(tmp_path, test=None).repair(edit())
    assert outcome and "only the component's probe" in outcome.reason


async def test_without_paths_a_proposal_is_recorded_and_never_applied(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    before = mission.files()
    outcome = await mission.repair(edit(), scope=msgspec.structs.replace(mission.scope, paths=()))
    assert outcome.status == "proposed" and not outcome
    assert "+    return a + b" in mission.records()[-1]["diff"]
    assert mission.files() == before
    with pytest.raises(Refusal):
        approve(outcome.id, logs=str(mission.logs))


async def test_a_patch_waits_for_approval_and_is_then_applied(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    before = mission.files()
    ask = msgspec.structs.replace(mission.scope, approval="ask")
    outcome = await mission.repair(edit(), scope=ask)
    assert outcome.status == "proposed" and mission.files() == before
    assert "waits for approval" in await mission.refused(edit(), scope=ask)
    assert recover(str(mission.logs)) == []
    assert approve(outcome.id, logs=str(mission.logs)) == ("src/app.py",)
    assert mission.app.read_text() == FIXED
    with pytest.raises(Refusal, match="not waiting"):
        approve(outcome.id, logs=str(mission.logs))


async def test_an_approval_that_comes_too_late_changes_nothing(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    outcome = await mission.repair(edit(), scope=msgspec.structs.replace(mission.scope, approval="ask"))
    mission.app.write_text("# mine\n")
    with pytest.raises(Refusal, match="changed after the proposal"):
        approve(outcome.id, logs=str(mission.logs))
    assert mission.app.read_text() == "# mine\n"
    assert sorted(os.listdir(mission.root / "src")) == ["app.py"]


async def test_a_rejected_patch_is_not_applied_and_not_proposed_again(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    outcome = await mission.repair(edit(), scope=msgspec.structs.replace(mission.scope, approval="ask"))
    reject(outcome.id, logs=str(mission.logs), reason="too clever")
    with pytest.raises(Refusal):
        approve(outcome.id, logs=str(mission.logs))
    assert "too clever" in await mission.refused(edit())


async def test_approval_never_only_shows(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    outcome = await mission.repair(edit(), scope=msgspec.structs.replace(mission.scope, approval="never"))
    assert outcome.status == "proposed" and mission.app.read_text() == APP
    with pytest.raises(Refusal):
        approve(outcome.id, logs=str(mission.logs))


async def test_a_patch_seen_before_is_refused_unless_it_held(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    outcome = await mission.repair(edit())
    rollback(outcome.id, logs=str(mission.logs), reason="still unhealthy")
    assert "seen before: it was undone" in await mission.refused(edit())
    wrong = edit(new="    return b - a\n")
    await mission.refused(wrong)
    assert "seen before: it was rejected" in await mission.refused(wrong)
    other = Mission(tmp_path / "second")
    held = await other.repair(edit())
    keep(held.id, logs=str(other.logs))
    other.app.write_text(APP)
    assert await other.repair(edit())


async def test_a_file_that_changed_after_the_agent_saw_it_is_left_alone(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    outcome = await mission.repair(edit(), seen={"src/app.py": sha256_hex(b"something else")})
    assert outcome.status == "rejected" and outcome.passing
    assert "changed after the agent had seen it" in outcome.reason
    assert await mission.repair(edit(), seen={"src/app.py": sha256_hex(APP.encode())})


async def test_secrets_do_not_reach_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "sk-abcdefghijklmnop1234567890"
    test = f"import app\nprint('{secret}')\nassert False\n"
    mission = Mission(tmp_path, test=test)
    outcome = await mission.repair(edit(new=f"    return a + b  # {secret}\n"))
    assert outcome.status == "rejected"
    for folder, _, names in os.walk(mission.logs):
        for name in names:
            assert secret.encode() not in (Path(folder) / name).read_bytes(), name
    assert secret not in repr(outcome)


@pytest.mark.parametrize(
    "id", ["../../etc", "", "20250101T000000-zzzzzzzzzzzz", "20250101T000000-0123456789ab"]
)
def test_ids_that_are_none_are_refused(tmp_path: Path, id: str) -> None:
    for function in (keep, rollback, approve, reject):
        (tmp_path / "repairs").mkdir(exist_ok=True)
        with pytest.raises(Refusal):
            function(id, logs=str(tmp_path))
    assert journal.known(str(tmp_path)) == []


async def test_a_cancelled_repair_leaves_nothing(tmp_path: Path) -> None:
    mission = Mission(tmp_path, test="import app, time\ntime.sleep(600)\n")
    before = mission.files()
    task = asyncio.ensure_future(mission.repair(edit()))
    await until(lambda: list(mission.logs.glob("repairs/*/work/sandbox.json")))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert mission.files() == before
    assert not list(mission.logs.glob("repairs/*/work"))


async def test_a_repair_cancelled_during_the_swap_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mission = Mission(tmp_path)
    before = mission.files()
    really, swapping = transaction.apply, threading.Event()

    def slowly(logs: str, id: str) -> journal.Manifest:
        swapping.set()
        assert cancelled.wait(10)
        return really(logs, id)

    cancelled = threading.Event()
    monkeypatch.setattr(transaction, "apply", slowly)
    task = asyncio.ensure_future(mission.repair(edit()))
    await until(swapping.is_set)
    task.cancel()
    await asyncio.sleep(0)
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert mission.files() == before
    (id,) = journal.known(str(mission.logs))
    assert journal.state_of(str(mission.logs), id) == "rolled_back"


async def test_there_is_no_change_without_a_record(tmp_path: Path) -> None:
    mission = Mission(tmp_path)
    before = mission.files()
    (mission.logs / "razar_ai_patches.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        await mission.repair(edit())
    assert mission.files() == before
