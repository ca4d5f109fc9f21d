"""Small wheels made on the spot, and an index that serves them on loopback."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer

__all__ = ["Index", "make_project", "make_wheel", "serve"]

# A build back end of 20 lines, so that building a local project needs nothing from anywhere.
_BACKEND = """
import os, tomllib, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    with open("pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    name, version = project["name"], project["version"]
    info = f"{name}-{version}.dist-info"
    files = {f"{name}.py": open(f"{name}.py").read()}
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n" + "".join(
        f"Requires-Dist: {one}\\n" for one in project.get("dependencies", []))
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    record = "".join(f"{path},,\\n" for path in files)
    target = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, target), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\\n")
    return target
"""


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    source: str = "VALUE = 1\n",
    requires: Sequence[str] = (),
    python: str = ">=3.8",
    script: str | None = None,
    record: Mapping[str, str] | None = None,
    tag: str = "py3-none-any",
) -> Path:
    """Write a wheel with one package ``name``; ``record`` overrides digests in its RECORD."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": source,
        f"{name}/data.txt": "data\n" * 100,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        f"Requires-Python: {python}\n" + "".join(f"Requires-Dist: {one}\n" for one in requires),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    if script is not None:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{script} = {name}:main\n"
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={(record or {}).get(path, digest)},{len(text)}\n")
    files[f"{info}/RECORD"] = "".join(rows) + f"{info}/RECORD,,\n"
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return wheel


def make_project(
    folder: Path,
    name: str,
    *,
    source: str = "VALUE = 1\n",
    requires: Sequence[str] = (),
    backend: str = _BACKEND,
) -> Path:
    """Write a source tree with a build back end of its own."""
    project = folder / name
    project.mkdir(parents=True)
    (project / f"{name}.py").write_text(source)
    (project / "backend.py").write_text(backend)
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1.0"\ndependencies = {list(requires)!r}\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    return project


class Index:
    """A package index (the simple API of PEP 503, metadata as in PEP 658) over a folder of wheels.

    With ``credentials`` (``user:password``) every request must carry them. ``requests`` lists the
    paths that were asked for. While ``gate`` is closed no file is handed out.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.credentials: str | None = None
        self.requests: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.port = 0
        # No two indexes have an address in common, even if they get the same port.
        self.name = secrets.token_hex(8)

    def url(self, credentials: str = "") -> str:
        return f"http://{credentials}{'@' if credentials else ''}127.0.0.1:{self.port}/{self.name}/simple"

    def answer(self, path: str) -> bytes | None:
        parts = [part for part in path.split("/") if part and part != self.name]
        if len(parts) == 2 and parts[0] == "simple":
            wheels = sorted(self.folder.glob(f"{parts[1].replace('-', '_')}-*.whl"))
            links = []
            for one in wheels:
                digest = hashlib.sha256(one.read_bytes()).hexdigest()
                address = f"/{self.name}/files/{one.name}#sha256={digest}"
                links.append(f'<a href="{address}" data-core-metadata="true">{one.name}</a>')
            return "<br>".join(links).encode() if links else None
        if len(parts) == 2 and parts[0] == "files" and parts[1].endswith(".metadata"):
            wheel = self.folder / parts[1].removesuffix(".metadata")
            with zipfile.ZipFile(wheel) as archive:
                return archive.read("-".join(wheel.name.split("-")[:2]) + ".dist-info/METADATA")
        if len(parts) == 2 and parts[0] == "files":
            self.gate.wait()
            return (self.folder / parts[1]).read_bytes()
        return None


@contextmanager
def serve(folder: Path) -> Iterator[Index]:
    """Serve a folder of wheels for as long as the block runs."""
    index = Index(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.requests.append(self.path)
            expected = index.credentials and "Basic " + base64.b64encode(index.credentials.encode()).decode()
            if expected and self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = index.answer(self.path.split("?")[0])
            self.send_response(404 if body is None else 200)
            kind = "application/octet-stream" if "/files/" in self.path else "text/html"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    # Not http.server.HTTPServer: its bind looks up the host name, which can hang.
    class Server(ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        index.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield index
        finally:
            index.gate.set()
            server.shutdown()
            thread.join()
