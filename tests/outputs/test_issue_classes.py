"""From an error to its class: the root cause counts, not the last line."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from razar.issues.classes import REMEDIATION, classify
from razar.issues.package_names import is_known, package_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ModuleNotFoundError: No module named 'yaml'", "dependency"),
        ("ImportError: cannot import name 'x' from 'y' (/z/y.py)", "dependency"),
        (
            "ImportError: libcudart.so.12: cannot open shared object file: No such file",
            "dependency",
        ),
        ("sh: 1: vllm: command not found", "dependency"),
        ("exited with code 127", "dependency"),
        ("OSError: [Errno 98] Address already in use", "port"),
        ("Error: listen EADDRINUSE: address already in use :::3000", "port"),
        ("Bind for 0.0.0.0:8080 failed: port is already allocated", "port"),
        ("PermissionError: [Errno 13] Permission denied: '/etc/x'", "permission"),
        ("exited with code 126", "permission"),
        ("OSError: [Errno 28] No space left on device: '/var/x'", "resource"),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "resource"),
        ("OSError: [Errno 24] Too many open files", "resource"),
        ("killed by SIGKILL", "resource"),
        ("MemoryError", "resource"),
        ("ConnectionRefusedError: [Errno 111] Connection refused", "network"),
        ("socket.gaierror: [Errno -2] Name or service not known", "network"),
        ("not healthy within 60 s; last probe: timed out", "network"),
        ("ssl.SSLCertVerificationError: certificate verify failed", "network"),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/etc/app.yaml'", "configuration"),
        ("pydantic_core._pydantic_core.ValidationError: 2 validation errors for Settings", "configuration"),
        ("yaml.scanner.ScannerError: mapping values are not allowed here", "configuration"),
        ("usage: app\napp: error: unrecognized arguments: --prot", "configuration"),
        ("DATABASE_URL is not set", "configuration"),
        ("ZeroDivisionError: division by zero", "logic"),
        ("AssertionError", "logic"),
        ("thread 'main' panicked at src/main.rs:4:5", "logic"),
        ("killed by SIGSEGV", "logic"),
        ("exited with code 3 before it was healthy", "unknown"),
        ("", "unknown"),
    ],
)
def test_one_line(text: str, name: str) -> None:
    issue = classify(text)
    assert issue.name == name
    assert issue.remediation == REMEDIATION[issue.name]


def test_the_remediation_of_a_dependency_is_the_promised_sentence() -> None:
    assert REMEDIATION["dependency"] == "Install missing packages or verify the environment."
    assert len(set(REMEDIATION.values())) == 8


@pytest.mark.parametrize(
    ("text", "port"),
    [
        (
            "[Errno 98] while attempting to bind on address ('127.0.0.1', 8000): address already in use",
            8000,
        ),
        ("listen EADDRINUSE: address already in use :::3000", 3000),
        ("listen tcp 0.0.0.0:9360: bind: address already in use", 9360),
        ("listen tcp [::1]:9361: bind: address already in use", 9361),
        ("port 5432 is already in use", 5432),
        ("address already in use", None),
        ("address already in use (port 99999)", None),
    ],
)
def test_the_port_is_found(text: str, port: int | None) -> None:
    assert classify(text).port == port


def test_the_path_is_found() -> None:
    assert (
        classify("PermissionError: [Errno 13] Permission denied: '/srv/models/a b'").path == "/srv/models/a b"
    )
    assert classify("open /etc/app/config.toml: no such file or directory").path == "/etc/app/config.toml"


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("yaml", "PyYAML"),
        ("google.protobuf.message", "protobuf"),
        ("sklearn.svm", "scikit-learn"),
        ("prometheus_client", "prometheus-client"),
        ("requests", "requests"),
        ("distutils", "setuptools"),
        ("_ctypes", None),
        ("tomllib", None),
    ],
)
def test_the_package_is_guessed(module: str, package: str | None) -> None:
    assert package_of(module) == package
    issue = classify(f"ModuleNotFoundError: No module named '{module}'")
    assert (issue.module, issue.package) == (module, package)
    assert package is None or is_known(package)


def test_a_name_that_only_the_log_knows_is_not_known() -> None:
    assert package_of("evil_pkg") == "evil-pkg" and not is_known("evil-pkg")
    assert is_known("Prometheus_Client")


def _traceback(code: str) -> list[str]:
    """The real traceback of a program."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=30, check=False
    )
    assert run.returncode == 1
    return run.stderr.splitlines()


CHAINS = {
    "raised from": (
        """
        try:
            import yaml_is_not_there
        except ImportError as fault:
            raise RuntimeError("cannot read the configuration") from fault
        """,
        "dependency",
        "yaml_is_not_there",
    ),
    "raised while handling": (
        """
        try:
            open("/no/such/file")
        except OSError:
            raise ValueError("bad settings")
        """,
        "configuration",
        "/no/such/file",
    ),
    "three deep": (
        """
        import socket
        try:
            try:
                socket.create_connection(("127.0.0.1", 1), 1)
            except OSError as fault:
                raise KeyError("backend") from fault
        except KeyError as fault:
            raise RuntimeError("start failed") from fault
        """,
        "network",
        "Connection refused",
    ),
    "looked up first": (
        """
        cache = {}
        try:
            cache["model"]
        except KeyError:
            open("/srv/model.bin")
        """,
        "configuration",
        "/srv/model.bin",
    ),
    "a fallback import": (
        """
        try:
            import ujson_is_not_there
        except ImportError:
            import simplejson_is_not_there
        """,
        "dependency",
        "simplejson_is_not_there",
    ),
    "a missing variable": (
        """
        import os
        def settings():
            return os.environ["CROWN_REGION_NAME"]
        try:
            settings()
        except KeyError as fault:
            raise RuntimeError("no region") from fault
        """,
        "configuration",
        "environment variable CROWN_REGION_NAME is not set",
    ),
    "a group": (
        """
        group = ExceptionGroup("startup", [PermissionError(13, "Permission denied", "/srv/data")])
        raise group
        """,
        "permission",
        "/srv/data",
    ),
    "a message of several lines": (
        """
        class ValidationError(ValueError): pass
        try:
            raise ValidationError("2 validation errors for Settings\\nport\\n  is no number\\n\\nsee above")
        except ValueError as fault:
            raise RuntimeError("cannot start") from fault
        """,
        "configuration",
        "2 validation errors for Settings",
    ),
    "syntax": ("x = = 1", "logic", "SyntaxError"),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_the_root_cause_of_a_real_traceback_counts(chain: str) -> None:
    code, name, evidence = CHAINS[chain]
    for quoted in ("{}", "    | {}", "web-1  | {}", "2025-09-21 00:00:00 ERROR {}"):
        tail = [quoted.format(line) for line in _traceback(code)]
        issue = classify("exited with code 1 before it was healthy", tail)
        assert issue.name == name, (quoted, issue)
        assert evidence in issue.message


def test_the_last_traceback_counts_and_lines_around_it_do_not() -> None:
    first = _traceback("import yaml_is_not_there")
    second = _traceback("1 / 0")
    tail = [*first, "INFO serving", *second, "INFO cleanup: connection closed"]
    assert classify("exited with code 1", tail).name == "logic"


def test_without_a_traceback_the_last_telling_line_counts() -> None:
    tail = [
        "INFO: connection refused is nothing to worry about",
        "fatal: address already in use :8000",
        "bye",
    ]
    issue = classify("exited with code 1 before it was healthy", tail)
    assert (issue.name, issue.port) == ("port", 8000)


def test_messages_hold_no_secrets() -> None:
    assert (
        classify("ConnectionError: https://u:hunter22@host/ refused").message
        == "ConnectionError: https://host/ refused"
    )


@given(st.text(), st.lists(st.text()))
def test_any_text_has_a_class(error: str, tail: list[str]) -> None:
    issue = classify(error, tail)
    assert issue.name in REMEDIATION and issue.message.isprintable()


@given(
    st.lists(
        st.sampled_from(
            [
                "Traceback (most recent call last):",
                '  File "x.py", line 1, in f',
                "    boom()",
                "ValueError: x",
                "",
                "During handling of the above exception, another exception occurred:",
                "The above exception was the direct cause of the following exception:",
                "  + Exception Group Traceback (most recent call last):",
                "  | ExceptionGroup: x (1 sub-exception)",
                "  +-+---------------- 1 ----------------",
                "words",
            ]
        )
    )
)
def test_tracebacks_in_any_disorder_are_read(lines: list[str]) -> None:
    assert classify("x", lines).name in ("logic", "unknown")
