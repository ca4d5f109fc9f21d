"""What Prometheus and a tracing backend see of a real boot."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from razar.metrics import TABLE
from tests.boot.checks import healthy_remains
from tests.boot.mission import Mission, http_service, script, service
from tests.environments.packages import make_wheel
from tests.support.ports import free_port
from tests.support.waiting import until_sync

Make = Callable[..., Mission]


def get(port: int, path: str) -> str | None:
    """What stands at a path, None while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def test_metrics_and_health_are_served_while_a_boot_runs_and_after_it(mission: Make) -> None:
    port, web = free_port(), free_port()
    one = mission(
        script("crasher", "exit 1", retries=0, criticality="optional"),
        http_service("web", web, restart={"backoff": "0ms"}),
        script("late", "while ! test -e go; do sleep 0.02; done; echo ready; exec sleep 1000"),
    )
    one.start(RAZAR_METRICS_PORT=str(port))
    one.wait_for_state("late", "igniting")
    health = json.loads(until_sync(lambda: get(port, "/healthz")))
    assert health["status"] == "ok" and health["mission"] == "demo" and one.process is not None
    assert health["pid"] == one.process.pid and health["components"]["igniting"] == 1
    during = get(port, "/metrics") or ""
    assert 'razar_component_state{component="late",layer="core",state="igniting"} 1.0' in during
    assert 'razar_ai_invocation_success_total{component="web"} 0.0' in during
    (one.folder / "go").touch()
    one.wait_for_line("INFO Mission demo complete")
    os.kill(one.wait_for_state("web", "running")["pid"], 9)
    until_sync(lambda: one.component("web").get("incarnation") == 2)
    one.wait_for_state("web", "running")
    after = get(port, "/metrics") or ""
    for metric in TABLE:
        assert f"# TYPE {metric.name} {metric.kind}" in after, metric.name
    for sample in (
        'razar_component_state{component="web",layer="core",state="running"} 1.0',
        'razar_component_state{component="web",layer="core",state="igniting"} 0.0',
        'razar_component_state{component="crasher",layer="core",state="quarantined"} 1.0',
        'razar_component_restarts_total{component="web"} 1.0',
        "razar_quarantined_components 1.0",
        'razar_boot_seconds_count{mission="demo",outcome="complete"} 1.0',
        'razar_ignition_seconds_count{component="late"} 1.0',
        'razar_probe_seconds_count{component="web",outcome="passed"}',
    ):
        assert sample in after, sample
    assert one.stop() == 0
    assert get(port, "/healthz") is None
    healthy_remains(one)


def test_a_taken_port_is_a_warning_that_names_who_holds_it(mission: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        one = mission(service("a"))
        one.start(RAZAR_METRICS_PORT=str(stranger.getsockname()[1]))
        one.wait_for_line("INFO Mission demo complete")
        until_sync(lambda: any("WARN" in line and str(stranger.getsockname()[1]) in line for line in one.log))
        assert one.stop() == 0
    assert f"pid {os.getpid()}" in "\n".join(one.log)
    healthy_remains(one)


def test_ports_that_are_none_are_a_warning(mission: Make) -> None:
    one = mission(service("a"))
    one.start(RAZAR_METRICS_PORT="http", RAZAR_METRICS_HOST="nowhere.example")
    until_sync(lambda: sum("RAZAR_METRICS_" in line for line in one.log) == 2)
    one.wait_for_line("INFO Mission demo complete")
    assert one.stop() == 0


WRAPPER = """
import json, sys
{block}
if {traced}:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    class ToFile(SpanExporter):
        def export(self, spans):
            with open("spans.jsonl", "a") as file:
                for span in spans:
                    file.write(json.dumps({{
                        "name": span.name,
                        "trace": span.context.trace_id,
                        "id": span.context.span_id,
                        "parent": span.parent and span.parent.span_id,
                        "status": span.status.status_code.name,
                        "seconds": (span.end_time - span.start_time) / 1e9,
                        **dict(span.attributes),
                    }}) + "\\n")
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ToFile()))
    trace.set_tracer_provider(provider)
from razar.boot_orchestrator import main
sys.exit(main(sys.argv[1:]))
"""


def boot(one: Mission, *options: str, traced: bool = True, block: str = "", **environ: str) -> None:
    """Boot in a program that configures an SDK, or in which modules cannot be imported."""
    with (one.folder / "stdout").open("wb") as out, (one.folder / "stderr").open("wb") as err:
        one.process = subprocess.Popen(
            [sys.executable, "-c", WRAPPER.format(traced=traced, block=block), "--mission", "demo", *options],
            cwd=one.folder,
            env=one.environ(**environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )


def spans(one: Mission) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (one.folder / "spans.jsonl").read_text().splitlines()]


def test_one_boot_is_one_trace(mission: Make, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_wheel(wheels, "alpha")
    one = mission(
        script("a", "echo $TRACEPARENT > traceparent; echo ready; exec sleep 1000"),
        script("b", "exit 1", retries=0, criticality="optional"),
        crown={"required_model": None},
    )
    (one.folder / "razar_env.yaml").write_text(
        "environments:\n  - {layer: core, python: '>=3.11', dependencies: [alpha]}\n"
    )
    environ = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(wheels), "UV_CACHE_DIR": str(tmp_path / "cache")}
    boot(one, TRACEPARENT="00-" + "1" * 32 + "-" + "2" * 16 + "-01", **environ)
    one.wait_for_line("INFO Mission demo complete")
    until_sync(lambda: any(span["name"] == "razar.core_evaluation" for span in spans(one)))
    assert one.stop() == 0
    found = spans(one)
    assert len({span["trace"] for span in found}) == 1
    assert len({span["id"] for span in found}) == len(found)
    by_id = {span["id"]: span for span in found}
    tree = sorted(
        (
            span["name"],
            span.get("razar.component") or span.get("razar.layer") or span.get("razar.phase") or "",
            by_id[span["parent"]]["name"] if span["parent"] else "",
        )
        for span in found
    )
    assert tree == [
        ("razar.boot", "", ""),
        ("razar.core_evaluation", "", "razar.boot"),
        ("razar.environment", "core", "razar.phase"),
        ("razar.handshake", "", "razar.phase"),
        ("razar.ignition", "a", "razar.phase"),
        ("razar.ignition", "b", "razar.phase"),
        ("razar.memory", "", "razar.boot"),
        ("razar.phase", "ignition", "razar.boot"),
        ("razar.phase", "prepare", "razar.boot"),
        ("razar.probe_wait", "a", "razar.ignition"),
        ("razar.probe_wait", "b", "razar.ignition"),
    ]
    [root] = [span for span in found if span["parent"] is None]
    assert root["razar.mission"] == "demo" and root["razar.outcome"] == "complete"
    assert root["razar.boot_id"] == one.state["boot_id"]
    assert all(span["seconds"] >= 0 for span in found)
    [ignition] = [
        span for span in found if span["name"] == "razar.ignition" and span["razar.component"] == "a"
    ]
    told = (one.folder / "traceparent").read_text().strip()
    assert told.startswith(f"00-{ignition['trace']:032x}-{ignition['id']:016x}-")
    healthy_remains(one)


@pytest.mark.parametrize("kind", ["crown", "environment", "interrupt"])
def test_a_boot_that_fails_early_is_a_failed_trace(mission: Make, tmp_path: Path, kind: str) -> None:
    one = mission(
        script("a", "exec sleep 1000"),
        crown={"url": f"ws://127.0.0.1:{free_port()}"} if kind == "crown" else {"policy": "off"},
    )
    environ = {"UV_NO_INDEX": "1", "UV_CACHE_DIR": str(tmp_path / "cache")}
    if kind == "environment":
        text = "environments:\n  - {layer: core, python: '>=3.11', dependencies: [no-such-thing]}\n"
        (one.folder / "razar_env.yaml").write_text(text)
    boot(one, **environ)
    if kind == "interrupt":
        one.wait_for_state("a", "igniting")
        one.signal(2)
    assert one.wait() == {"crown": 3, "environment": 4, "interrupt": 130}[kind]
    found = spans(one)
    [root] = [span for span in found if span["name"] == "razar.boot"]
    assert len({span["trace"] for span in found}) == 1
    if kind == "interrupt":
        assert root["razar.outcome"] in ("interrupted", "stopped")
    else:
        assert root["razar.outcome"] == "failed" and root["status"] == "ERROR"
    if kind == "environment":
        [span] = [span for span in found if span["name"] == "razar.environment"]
        assert span["status"] == "ERROR" and span["razar.outcome"] == "failed"
    healthy_remains(one)


@pytest.mark.parametrize("name", ["opentelemetry", "prometheus_client", "razar._native", "rich"])
def test_a_boot_without_a_module_it_can_do_without(mission: Make, name: str) -> None:
    one = mission(script("a", 'echo "<$TRACEPARENT>"; echo ready; exec sleep 1000'))
    boot(one, traced=False, block=f"sys.modules[{name!r}] = None", OTEL_TRACES_EXPORTER="console")
    one.wait_for_line("INFO Mission demo complete")
    if name == "prometheus_client":
        until_sync(lambda: any("metrics are off" in line for line in one.log))
    if name == "razar._native":
        until_sync(lambda: any(line.startswith("WARN Expression core: error") for line in one.log))
    assert one.stop() == 0
    assert "<>" in (one.logs / "components/a/current.log").read_text()
    healthy_remains(one)
