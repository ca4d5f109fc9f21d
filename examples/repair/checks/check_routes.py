"""What the router's table of routes must do; exits with 1 if it does not."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "router"))

from routes import parse_routes, route

ROUTES = parse_routes("chat=http://localhost:1/chat, code=http://localhost:1/code")
assert ROUTES == {"chat": "http://localhost:1/chat", "code": "http://localhost:1/code"}, ROUTES
assert route(ROUTES, "code") == "http://localhost:1/code"
assert route(ROUTES, "poetry") == "http://localhost:1/chat"
print("the routes are as they should be")
