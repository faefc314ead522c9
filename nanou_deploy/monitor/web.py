"""Serve the monitor as a local web page: one HTML file and a stream of server-sent events (WHATWG HTML, section 9.2).

Bound to the loopback interface unless told otherwise, and to requests that name it: a page from elsewhere that lets
its name point here gets nothing. What a page asks for (`POST /tune`, `/save`) needs a token that only this server's
page has, is done on the loopback interface alone, and is held to known names and whole numbers.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import sys
import threading
from collections import deque
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import codegen
from codegen.library.resources import render_template
from codegen.untrusted import parse_json, printable
from nanou_deploy.errors import DeployError
from nanou_deploy.monitor.desk import Desk, checked_numbers
from nanou_deploy.monitor.events import Ended, Event, Facts, Fault, Lines, MotorsTold, Sight, Tuned

LOOPBACK = "127.0.0.1"
_LOG_LINES = 200
_HEARTBEAT_S = 5.0
_RETRY_MS = 1000
_REQUEST_BYTES = 4096
_CLIENT_TIMEOUT_S = 30.0  # for a request to arrive, and for what is sent to be taken


@dataclass
class _State:
    """The newest of one device; `version` counts changes, so that each browser knows what it has not seen."""

    facts: dict[str, Any] | None = None
    sight: dict[str, Any] | None = None
    fault: dict[str, Any] | None = None
    motors: dict[str, Any] | None = None
    tuning: dict[str, Any] | None = None
    log: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=_LOG_LINES))
    versions: dict[str, int] = field(default_factory=dict)


class Hub:
    """Takes events from feeds, hands the newest to any number of browsers. A slow browser misses pictures, no log."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._states = {address: _State() for address in addresses}
        self._changed = threading.Condition()
        self._version = 0
        self._closed = False

    def show(self, event: Event) -> None:
        with self._changed:
            self._version += 1
            state = self._states[event.address]
            if isinstance(event, Facts):
                self._put(state, "facts", asdict(event.info))
                self._put(state, "fault", None)
            elif isinstance(event, Sight):
                self._put(state, "sight", sight_document(event))
            elif isinstance(event, MotorsTold):
                self._put(state, "motors", asdict(event.motors))
            elif isinstance(event, Tuned):
                self._put(state, "tuning", _tuning_document(event))
            elif isinstance(event, Lines):
                state.log.extend((self._version, line) for line in event.lines)
            elif isinstance(event, Fault):
                self._put(state, "fault", {"error": str(event.error), "hint": event.error.hint, "again": True})
            elif isinstance(event, Ended):
                error = event.error
                words = {"error": str(error), "hint": error.hint} if error else {"error": "ended", "hint": ""}
                self._put(state, "fault", {**words, "again": False})
            self._changed.notify_all()

    def _put(self, state: _State, name: str, value: dict[str, Any] | None) -> None:
        setattr(state, name, value)
        state.versions[name] = self._version

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, seen: int, timeout_s: float) -> tuple[int, dict[str, dict[str, Any]]] | None:
        """Wait for changes since version `seen`: the version now and what changed by address, empty after `timeout_s`.

        None once closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._version > seen or self._closed, timeout_s)
            if self._closed:
                return None
            changes = {address: self._since(state, seen) for address, state in self._states.items()}
            return self._version, {address: change for address, change in changes.items() if change}

    def _since(self, state: _State, seen: int) -> dict[str, Any]:
        change = {name: getattr(state, name) for name, version in state.versions.items() if version > seen}
        lines = [line for version, line in state.log if version > seen]
        return {**change, **({"log": lines} if lines else {})}


def _tuning_document(event: Tuned) -> dict[str, Any]:
    tuning = event.tuning
    fixed = {"hold_ms": tuning.policy.hold_ms, "has_threshold": tuning.has_threshold}
    return {"numbers": tuning.numbers(), **fixed, "error": event.error}


def sight_document(sight: Sight) -> dict[str, Any]:
    """Write one picture as JSON: pixels and mask in base64, as they came from the device."""
    picture = sight.picture
    document = {
        "number": sight.number,
        "mask": base64.b64encode(sight.mask).decode(),
        "width_px": sight.width_px,
        "height_px": sight.height_px,
        "decision": asdict(sight.decision),
        "fps": round(sight.fps, 2),
        "device_fps": sight.device_fps,
        "stages_us": dict(sight.stages_us),
        "cycles": sight.cycles,
        "lost": sight.lost,
        "picture": None,
    }
    if picture is not None:
        pixels = base64.b64encode(picture.pixels).decode()
        document["picture"] = {**asdict(picture), "pixels": pixels}
    return document


class _Handler(BaseHTTPRequestHandler):
    server: MonitorServer
    protocol_version = "HTTP/1.1"
    timeout = _CLIENT_TIMEOUT_S

    def do_GET(self) -> None:
        if not self._is_meant():
            self._answer(403, "text/plain", b"this name is not this computer's\n")
        elif self.path == "/":
            desk = self.server.desk
            page = render_template(
                "monitor/monitor.html.j2",
                version=codegen.__version__,
                token=self.server.token if desk else "",
                values=desk.values if desk else "",
            )
            self._answer(200, "text/html; charset=utf-8", page.encode())
        elif self.path == "/events":
            self._stream()
        else:
            self._answer(404, "text/plain", b"there is only /\n")

    def do_POST(self) -> None:
        """Tune a device, or write its numbers into the project file. Answers {"said": ...} or {"error": ...}."""
        desk = self.server.desk
        token = self.headers.get("X-Nanou-Token") or ""
        is_ours = secrets.compare_digest(token.encode(), self.server.token.encode())
        if desk is None or not self._is_meant() or not is_ours:
            self._refuse(403, "this is for the page of this server alone")
        elif self.path not in ("/tune", "/save"):
            self._refuse(404, "there is only /tune and /save")
        else:
            try:
                address, numbers = self._asked()
                said = self._do(desk, address, numbers)
            except ValueError as error:
                self._refuse(400, printable(str(error), 200))
            except DeployError as error:
                self._refuse(409, f"{error}; {error.hint}" if error.hint else str(error))
            else:
                self._answer(200, "application/json", json.dumps({"said": said}).encode())

    def _asked(self) -> tuple[str, dict[str, int]]:
        """Read a request: the device and the numbers. Raises ValueError."""
        length = self.headers.get("Content-Length") or ""
        if not (length.isascii() and length.isdecimal() and 0 < int(length[:9]) <= _REQUEST_BYTES):
            raise ValueError("the request is too long, or of no stated length")
        document = parse_json(self.rfile.read(int(length)))
        address = document.get("address") if isinstance(document, dict) else None
        if not isinstance(address, str):
            raise ValueError("the request names no device")
        return address, checked_numbers(document.get("numbers"))

    def _do(self, desk: Desk, address: str, numbers: dict[str, int]) -> str:
        if self.path == "/save":
            return desk.save(numbers)
        desk.controls.ask(address, numbers)
        return ""

    def _refuse(self, status: int, why: str) -> None:
        self.close_connection = True  # what else was sent is not read
        self._answer(status, "application/json", json.dumps({"error": why}).encode())

    def _is_meant(self) -> bool:
        name = re.sub(r":\d*$", "", self.headers.get("Host") or "")  # browsers leave out port 80
        return not self.server.is_local or name.lower() in ("127.0.0.1", "localhost", "[::1]")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(f"retry: {_RETRY_MS}\n\n".encode())
        seen = 0
        while (news := self.server.hub.wait(seen, _HEARTBEAT_S)) is not None:
            seen, changes = news
            text = f"data: {json.dumps(changes, allow_nan=False)}\n\n" if changes else ": alive\n\n"
            try:
                self.wfile.write(text.encode())
            except OSError:  # the browser has gone
                return

    def log_message(self, *_: object) -> None:
        """Nothing: requests are no news."""


class MonitorServer(ThreadingHTTPServer):
    """Serves until closed, in a thread of its own. `url` is where. Raises DeployError where the port is taken."""

    daemon_threads = True

    def __init__(self, hub: Hub, port: int, *, bind: str = LOOPBACK, desk: Desk | None = None) -> None:
        """`desk`: what the page may do; nothing where it is served to others than this computer."""
        self.hub = hub
        self.is_local = bind in (LOOPBACK, "localhost")
        self.desk = desk if self.is_local else None
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((bind, port), _Handler)
        except OSError as error:
            raise DeployError(
                f"cannot serve at {bind}:{port}: {error.strerror or error}", hint="choose another port: --web 0"
            ) from error
        self.url = f"http://{bind}:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing where a browser has gone, which is no fault; else what the standard library does."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def __enter__(self) -> MonitorServer:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hub.close()
        self.shutdown()
        self.server_close()
