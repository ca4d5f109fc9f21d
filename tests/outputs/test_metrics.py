"""The metrics, scraped over HTTP, parsed by the library that Prometheus' own clients use."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from razar.engine import events
from razar.metrics import TABLE, MissionMetrics, Store, init_metrics
from razar.projections import metrics_server

from .support import Story, component


class Scraper:
    """A store that is served on a free port."""

    def __init__(self, **settings: str) -> None:
        self.store = Store()
        self.told: list[str] = []
        self.port = init_metrics(0, settings.get("host"), report=self.told.append, store=self.store)

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
        assert self.port is not None
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body, answer.headers

    def samples(self) -> dict[tuple[str, ...], float]:
        """(name, label values sorted by label…) -> value"""
        text = self.get("/metrics")[1]
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
def scraper() -> Iterator[Scraper]:
    metrics_server.stop()
    yield Scraper()
    metrics_server.stop()


def test_every_metric_is_there_from_the_start_with_its_type(scraper: Scraper) -> None:
    status, text, headers = scraper.get("/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for metric in TABLE:
        assert f"# TYPE {metric.name} {metric.kind}\n" in text
        assert f"# HELP {metric.name} {metric.help}\n" in text


def test_the_names_and_labels_are_the_promised_ones() -> None:
    assert {metric.name: metric.labels for metric in TABLE} == {
        "razar_ai_invocation_success_total": ("component",),
        "razar_ai_invocation_failure_total": ("component",),
        "razar_ai_invocation_retries_total": ("component",),
        "razar_ai_retry_duration_seconds": ("component",),
        "razar_component_state": ("component", "layer", "state"),
        "razar_component_restarts_total": ("component",),
        "razar_ignition_seconds": ("component",),
        "razar_boot_seconds": ("mission", "outcome"),
        "razar_probe_seconds": ("component", "outcome"),
        "razar_environment_build_seconds": ("layer", "outcome"),
        "razar_handover_seconds": ("agent", "outcome"),
        "razar_quarantined_components": (),
    }


def test_the_page_about_metrics_names_them_all_with_type_and_labels() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = [row.strip("|").split("|") for row in page.splitlines() if row.startswith("| `razar_")]
    documented = {row[0].strip(" `"): (row[1].strip(), row[2].replace("`", "").strip()) for row in rows}
    assert documented == {metric.name: (metric.kind, ", ".join(metric.labels)) for metric in TABLE}


def test_counters_of_known_components_are_zero_before_anything_happened(scraper: Scraper) -> None:
    MissionMetrics("demo", [component("a")], scraper.store)
    samples = scraper.samples()
    for name in ("success", "failure", "retries"):
        assert samples[f"razar_ai_invocation_{name}_total", "a"] == 0
    assert samples["razar_component_restarts_total", "a"] == 0
    assert samples["razar_component_state", "a", "core", "pending"] == 1
    assert samples["razar_quarantined_components",] == 0


def test_the_course_of_a_mission_moves_them(scraper: Scraper) -> None:
    story = Story(component("good"), component("bad", retries=0)).begin().prove("good", 0.25)
    story.spawn("bad").exit("bad", 1).exit("good", 1).timer("good", "backoff", 1.0).prove("good", 0.5)
    metrics = MissionMetrics("demo", story.plan.components.values(), scraper.store)
    story.tell(metrics)
    metrics.probe("good", "passed", 0.003)
    metrics.environment_built("core", "built", 12.0)
    metrics.handover("kimi2", "patched", 700.0)
    samples = scraper.samples()
    states = {key[3]: value for key, value in samples.items() if key[:2] == ("razar_component_state", "good")}
    assert len(states) == 14 and {state for state, value in states.items() if value} == {"running"}
    assert samples["razar_component_state", "bad", "core", "quarantined"] == 1
    assert samples["razar_quarantined_components",] == 1
    assert samples["razar_component_restarts_total", "good"] == 1
    assert samples["razar_component_restarts_total", "bad"] == 0
    assert samples["razar_ignition_seconds_count", "good"] == 2
    assert samples["razar_ignition_seconds_sum", "good"] == pytest.approx(0.75)
    assert samples["razar_ignition_seconds_bucket", "good", "0.25"] == 1
    assert samples["razar_boot_seconds_count", "demo", "failed"] == 1
    assert samples["razar_probe_seconds_bucket", "good", "0.0025", "passed"] == 0
    assert samples["razar_probe_seconds_bucket", "good", "0.005", "passed"] == 1
    assert samples["razar_environment_build_seconds_bucket", "core", "30.0", "built"] == 1
    assert samples["razar_handover_seconds_bucket", "kimi2", "600.0", "patched"] == 0
    assert samples["razar_handover_seconds_bucket", "kimi2", "900.0", "patched"] == 1
    assert samples["razar_handover_seconds_bucket", "kimi2", "+Inf", "patched"] == 1


def test_a_retry_before_the_first_health_is_no_restart_and_an_operators_is_one(scraper: Scraper) -> None:
    story = Story(component("a")).begin().spawn("a").exit("a", 1).timer("a", "backoff", 1.0).prove("a")
    metrics = MissionMetrics("demo", story.plan.components.values(), scraper.store)
    story.tell(metrics)
    assert scraper.samples()["razar_component_restarts_total", "a"] == 0
    told = len(story.told)
    story.take(events.OperatorRestarted("a")).exit("a", None).prove("a")
    for fact, state in story.told[told:]:
        metrics.fact(fact, state)
    assert story.state.components["a"].restarts == 1
    assert scraper.samples()["razar_component_restarts_total", "a"] == 1


def test_openmetrics_is_spoken_to_those_who_ask_for_it(scraper: Scraper) -> None:
    status, text, headers = scraper.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert status == 200 and headers["Content-Type"].startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


def test_healthz_is_json_and_says_how_the_components_are(scraper: Scraper) -> None:
    story = Story(component("a"), component("b")).begin().prove("a")
    story.tell(MissionMetrics("demo", story.plan.components.values(), scraper.store))
    status, body, headers = scraper.get("/healthz")
    assert status == 200 and headers["Content-Type"] == "application/json"
    document = json.loads(body)
    assert document.pop("seconds") >= 0
    assert document == {
        "status": "ok",
        "pid": os.getpid(),
        "mission": "demo",
        "components": {"igniting": 1, "running": 1},
    }


def test_other_paths_and_methods_are_refused(scraper: Scraper) -> None:
    assert scraper.get("/")[0] == 404
    assert scraper.get("/metrics", "POST")[0] == 405
    status, body, headers = scraper.get("/healthz", "HEAD")
    assert (status, body) == (200, "") and int(headers["Content-Length"]) > 0
    assert scraper.get("/healthz?x=1")[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9360", 200),
        ("127.0.0.1:9360", 200),
        ("[::1]:9360", 200),
        ("LOCALHOST", 200),
        ("evil.example:9360", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
    ],
)
def test_a_foreign_name_for_this_machine_is_refused(scraper: Scraper, host: str, status: int) -> None:
    assert scraper.get("/metrics", Host=host)[0] == status


@pytest.mark.parametrize(
    "request_text",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\0\r\n\r\n",
        b"GET / SPDY/9\r\n\r\n",
        b"GET /" + b"x" * 40_000,
    ],
    ids=["empty", "short", "tls", "other", "long"],
)
def test_nonsense_is_refused_and_the_server_lives_on(scraper: Scraper, request_text: bytes) -> None:
    assert scraper.port is not None
    with socket.create_connection(("127.0.0.1", scraper.port), 10) as connection:
        try:
            connection.sendall(request_text)
            answer = connection.recv(4096)
        except (BrokenPipeError, ConnectionResetError):
            answer = b"HTTP/1.1 4"
    assert answer.startswith(b"HTTP/1.1 4")
    assert scraper.get("/healthz")[0] == 200


def test_clients_that_say_nothing_do_not_keep_others_from_being_answered(scraper: Scraper) -> None:
    assert scraper.port is not None
    silent = [socket.create_connection(("127.0.0.1", scraper.port), 10) for _ in range(20)]
    try:
        assert scraper.get("/healthz")[0] == 200
    finally:
        for connection in silent:
            connection.close()


def test_requests_that_nobody_finishes_do_not_keep_others_from_being_answered(scraper: Scraper) -> None:
    assert scraper.port is not None
    halves = [socket.create_connection(("127.0.0.1", scraper.port), 10) for _ in range(60)]
    try:
        for connection in halves:
            connection.sendall(b"GET /met")
        assert [scraper.get("/healthz")[0] for _ in range(3)] == [200, 200, 200]
        halves[0].settimeout(10)
        assert halves[0].recv(100) == b"", "the one that was waited for the longest had to go"
    finally:
        for connection in halves:
            connection.close()


def test_scrapes_while_everything_changes_are_whole(scraper: Scraper) -> None:
    metrics = MissionMetrics("demo", [component(f"c{n}") for n in range(20)], scraper.store)
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            metrics.probe(f"new{number % 30}", "passed", 0.001)
            scraper.store.enter(f"c{number % 20}", "core", "running")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(3):
            status, text, _ = scraper.get("/metrics")
            assert status == 200 and list(text_string_to_metric_families(text))
    finally:
        stop.set()
        thread.join()


def test_later_calls_return_the_same_port(scraper: Scraper) -> None:
    assert scraper.port is not None
    assert init_metrics(0, store=scraper.store) == scraper.port
    assert init_metrics(store=Store()) == scraper.port
    assert scraper.told == []


def test_a_taken_port_is_a_warning_that_names_the_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics_server.stop()
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("RAZAR_METRICS_PORT", str(port))
        assert init_metrics(report=told.append) is None
    assert len(told) == 1
    assert told[0].startswith(f"metrics are off: port {port} is taken by pid {os.getpid()} (")
    # The port is free now, a later call succeeds.
    assert init_metrics(report=told.append) == port
    metrics_server.stop()


@pytest.mark.parametrize("text", ["ninety", "-1", "65536", "9360.5", "９３６０", "0x10"])
def test_a_malformed_port_falls_back_with_a_warning(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("RAZAR_METRICS_PORT", text)
    told: list[str] = []
    assert metrics_server._port(None, told.append) == 9360
    assert len(told) == 1 and "RAZAR_METRICS_PORT" in told[0]


def test_a_malformed_host_falls_back_to_loopback_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics_server.stop()
    monkeypatch.setenv("RAZAR_METRICS_HOST", "no such host")
    monkeypatch.setenv("RAZAR_METRICS_PORT", "0")
    told: list[str] = []
    port = init_metrics(report=told.append)
    assert port and len(told) == 1 and "RAZAR_METRICS_HOST" in told[0]
    socket.create_connection(("127.0.0.1", port), 10).close()
    metrics_server.stop()


def test_an_address_that_is_not_ours_is_a_warning() -> None:
    metrics_server.stop()
    told: list[str] = []
    assert init_metrics(0, "192.0.2.1", report=told.append) is None
    assert len(told) == 1 and "cannot listen on 192.0.2.1" in told[0]


def test_on_an_outer_address_any_name_is_served() -> None:
    metrics_server.stop()
    scraper = Scraper(host="0.0.0.0")
    assert scraper.get("/healthz", Host="razar.example:9360")[0] == 200
    metrics_server.stop()


def _run(code: str) -> str:
    run = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout + run.stderr


def test_without_the_library_it_is_a_told_no_op() -> None:
    said = _run(
        "import sys, importlib.abc\n"
        "class Block(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.split('.')[0] == 'prometheus_client': raise ModuleNotFoundError(name)\n"
        "import importlib.util; real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda n, p=None: None if n == 'prometheus_client' else real(n, p)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from razar.metrics import init_metrics, MissionMetrics\n"
        "assert init_metrics(0) is None\n"
        "MissionMetrics('demo', []).probe('a', 'passed', 0.1)\n"
    )
    assert "prometheus_client is not installed" in said


def test_the_library_is_imported_by_the_first_scrape_only() -> None:
    said = _run(
        "import sys, urllib.request\n"
        "from razar.metrics import init_metrics\n"
        "port = init_metrics(0)\n"
        "names = lambda: [n in sys.modules for n in ('prometheus_client', 'http.server')]\n"
        "before = names()\n"
        "urllib.request.urlopen(f'http://127.0.0.1:{port}/healthz').read()\n"
        "health = names()\n"
        "urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics').read()\n"
        "print(before, health, names()[0])\n"
    )
    assert said == "[False, False] [False, False] True\n"


def test_a_forked_child_may_serve_on_its_own() -> None:
    said = _run(
        "import os, urllib.request\n"
        "from razar.metrics import init_metrics\n"
        "parent = init_metrics(0)\n"
        "if os.fork() == 0:\n"
        "    port = init_metrics(0)\n"
        "    body = urllib.request.urlopen(f'http://127.0.0.1:{port}/healthz').read().decode()\n"
        "    assert f'\"pid\":{os.getpid()}' in body and port != parent, body\n"
        "    os._exit(0)\n"
        "status = os.wait()[1]\n"
        "urllib.request.urlopen(f'http://127.0.0.1:{parent}/healthz').read()\n"
        "print(status)\n"
    )
    assert said == "0\n"
