"""The alert rules, tried with promtool, and scraped metrics of ours in a real Prometheus."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from razar.metrics import TABLE, Store, init_metrics
from razar.projections import metrics_server
from tests.support.waiting import until_sync

REPOSITORY = Path(__file__).resolve().parents[2]
RULES = REPOSITORY / "monitoring" / "alerts" / "razar_failover.yml"
CONFIGURATION = REPOSITORY / "monitoring" / "prometheus.yml"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: apt-get install prometheus)"
)
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None,
    reason="prometheus is not installed (Debian: apt-get install prometheus)",
)


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    assert group["name"] == "razar-failover"
    found: list[dict[str, Any]] = group["rules"]
    return found


def promtool(*arguments: str) -> None:
    process = subprocess.Popen(
        ["promtool", *arguments], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output


@needs_promtool
def test_the_rules_and_the_configuration_are_valid() -> None:
    promtool("check", "rules", str(RULES))
    promtool("check", "config", str(CONFIGURATION))


@needs_promtool
def test_the_alerts_fire_when_they_should_and_not_otherwise() -> None:
    promtool("test", "rules", "tests/monitoring/razar_failover_test.yml")


def test_every_alert_is_tried_firing_and_silent() -> None:
    page = yaml.safe_load(Path(__file__).with_name("razar_failover_test.yml").read_text(encoding="utf-8"))
    tried = [
        (case["alertname"], bool(case["exp_alerts"]))
        for test in page["tests"]
        for case in test["alert_rule_test"]
    ]
    assert set(tried) == {(rule["alert"], fires) for rule in rules() for fires in (True, False)}


def test_the_rules_name_metrics_that_there_are() -> None:
    names = {metric.name for metric in TABLE} | {f"{m.name}_sum" for m in TABLE if m.kind == "histogram"}
    for rule in rules():
        used = set(re.findall(r"razar_[a-z_]+", rule["expr"]))
        assert used and used <= names, rule["alert"]


def test_every_alert_has_a_page_that_says_what_to_do() -> None:
    headings = re.findall(
        r"^#+ (.+)$", (REPOSITORY / "docs" / "connectors.md").read_text(encoding="utf-8"), re.M
    )
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/connectors.md#{rule['alert'].lower()}"
        assert rule["alert"] in headings
        assert rule["labels"]["service"] == "razar" and rule["labels"]["severity"] in ("warning", "critical")


class Prometheus:
    """A Prometheus with our configuration, scraping a store of ours every 200 ms."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = json.loads(connection.getresponse().read())
        except (OSError, ValueError, http.client.HTTPException):
            return None  # It is still starting.
        finally:
            connection.close()
        return answer["data"] if answer["status"] == "success" else None

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        data = self.get(f"/api/v1/query?query={quote(expression)}")
        return [(row["metric"], float(row["value"][1])) for row in data["result"]] if data else []

    def rules(self) -> list[dict[str, Any]]:
        groups = until_sync(lambda: (self.get("/api/v1/rules") or {}).get("groups"), 30)
        found: list[dict[str, Any]] = groups[0]["rules"]
        return found

    def firing(self) -> set[str]:
        data = self.get("/api/v1/alerts")
        return (
            {alert["labels"]["alertname"] for alert in data["alerts"] if alert["state"] == "firing"}
            if data
            else set()
        )


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def prometheus(tmp_path: Path, store: Store) -> Iterator[Prometheus]:
    metrics_server.stop()
    exported = init_metrics(0, store=store)
    text = CONFIGURATION.read_text(encoding="utf-8")
    assert "127.0.0.1:9360" in text and "15s" in text and "alerts/razar_failover.yml" in text
    text = text.replace("127.0.0.1:9360", f"127.0.0.1:{exported}").replace("15s", "200ms")
    (tmp_path / "prometheus.yml").write_text(text.replace("alerts/razar_failover.yml", str(RULES)))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdout=log,
            stderr=log,
        )

    def listening() -> re.Match[str] | None:
        said = (tmp_path / "log").read_text()
        assert process.poll() is None, said
        return re.search(r'"Listening on" address=127\.0\.0\.1:(\d+)\n', said)

    try:
        yield Prometheus(int(until_sync(listening, 30)[1]))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        metrics_server.stop()


@needs_prometheus
def test_a_real_prometheus_scrapes_what_we_export_and_fires(prometheus: Prometheus, store: Store) -> None:
    store.begin("demo", [("crown_router", "crown"), ("basic_service", "core")])
    store.observe("razar_ai_retry_duration_seconds", ("crown_router",), 12.5)
    until_sync(lambda: prometheus.query('up{job="razar"} == 1'), 30)
    states = until_sync(lambda: prometheus.query('razar_component_state{state="pending"}'), 30)
    assert {metric["component"] for metric, value in states if value == 1} == {
        "crown_router",
        "basic_service",
    }
    for name in ("success", "failure", "retries"):

        def exported(name: str = name) -> list[tuple[dict[str, str], float]]:
            return prometheus.query(f"razar_ai_invocation_{name}_total")

        found = until_sync(exported, 30)
        assert {(metric["component"], value) for metric, value in found} == {
            ("crown_router", 0.0),
            ("basic_service", 0.0),
        }
    assert prometheus.query("razar_ai_retry_duration_seconds_sum")[0][1] == 12.5
    assert [rule["name"] for rule in prometheus.rules()] == [rule["alert"] for rule in rules()]
    until_sync(lambda: prometheus.rules()[3]["health"] == "ok", 30)
    assert prometheus.firing() == set()
    store.enter("crown_router", "crown", "quarantined")
    store.count("razar_ai_invocation_failure_total", ("crown_router",), 3)
    store.count("razar_ai_invocation_retries_total", ("crown_router",), 200)
    expected = {"RAZARQuarantineNotEmpty", "RAZARAgentSuccessRateLow", "RAZARExcessiveRetries"}
    until_sync(lambda: prometheus.firing() == expected, 30)
