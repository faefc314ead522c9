"""Feeds, terminal and page of the monitor, against the C device and against lines that break."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import struct
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from codegen.graph.model import CameraSize
from nanou_deploy.build.drive_config import Policy
from nanou_deploy.device import ports
from nanou_deploy.device.client import Device
from nanou_deploy.device.errors import DeviceAbsent, LinkLost
from nanou_deploy.device.messages import CameraFrame, Decision, Stages, Vision
from nanou_deploy.device.rgb565 import camera_frame, decode_rgb565
from nanou_deploy.device.tuning import Tuning
from nanou_deploy.errors import DeployError
from nanou_deploy.monitor.events import Ended, Event, Facts, Fault, Lines, Sight, Tuned
from nanou_deploy.monitor.feed import Feed, FeedOptions
from nanou_deploy.monitor.frames import find_pictures
from nanou_deploy.monitor.terminal import DRIVABLE, PlainView, ScreenView, half_blocks, sight_line, tinted
from nanou_deploy.monitor.web import Hub, MonitorServer

DECISION = Decision(go=True, steer=-12, left_permille=800, centre_permille=900, right_permille=105)
MASK = np.array([[True, False, False], [False, True, True]])


def sight(number: int = 7, *, picture: CameraFrame | None = None, address: str = "a") -> Sight:
    mask = np.packbits(MASK, axis=1).tobytes()
    stages = (("model", 800), ("line", 12_345))
    return Sight(address, number, picture, mask, 3, 2, DECISION, 9.5, 0.0, stages, 0, 0)


# ---- Pictures --------------------------------------------------------------------------------------------------


def test_pictures_of_a_data_set_come_from_its_test_part(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part, value in (("train", 10), ("test", 248)):
        (tmp_path / part / "img").mkdir(parents=True)
        Image.new("RGB", (32, 24), (value, 0, 0)).save(tmp_path / part / "img" / "a.png")
    folder = find_pictures(tmp_path, CameraSize(16, 12))
    frames = folder.play()
    first, again = next(frames), next(frames)
    assert first == again
    assert (first.width_px, first.height_px, first.big_endian) == (16, 12, True)
    assert (decode_rgb565(first.pixels, CameraSize(16, 12), big_endian=True)[..., 0] == 255).all()
    assert len(list(folder.play(endless=False))) == 1
    with caplog.at_level("WARNING"):
        (tmp_path / "test" / "img" / "a.json").write_text("{}")  # a labelling tool's
        find_pictures(tmp_path, CameraSize(16, 12))
        assert not [one for one in caplog.records if one.levelname == "WARNING"]
        (tmp_path / "test" / "img" / "b.json").write_text("{}")
        find_pictures(tmp_path, CameraSize(16, 12))
        assert "skipped" in caplog.text
    with pytest.raises(DeployError, match="is no folder"):
        find_pictures(tmp_path / "absent", CameraSize())


# ---- Feeds -----------------------------------------------------------------------------------------------------


class BreakingDevice:
    """Judges pictures until its line breaks."""

    def __init__(self, whole: int) -> None:
        self.left, self.closed = whole, False

    def __enter__(self) -> BreakingDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def info(self) -> SimpleNamespace:
        return SimpleNamespace(has_camera=False, rehearses=False, tunes=False)

    def logs(self) -> list[str]:
        return []

    def infer_camera(self, rgb565: bytes, **_: object) -> Vision:
        self.left -= 1
        if self.left < 0:
            raise LinkLost("the line is gone")
        return Vision(b"\x80\x60", 3, 2, DECISION, 900, 0, Stages(0, 100, 700, 100))


def test_a_line_that_breaks_is_opened_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The second attempt finds nobody, the third one a device; pictures go on where they were."""
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    devices: list[BreakingDevice | None] = [BreakingDevice(2), None, BreakingDevice(9)]
    opened = []

    def open_device(address: str, **_: object) -> BreakingDevice:
        device = devices.pop(0)
        if device is None:
            raise DeviceAbsent("nobody there")
        opened.append(device)
        return device

    monkeypatch.setattr(Device, "open", open_device)
    monkeypatch.setattr("nanou_deploy.monitor.feed._AGAIN_S", 0.0)
    events: list[Event] = []
    options = FeedOptions(frames=find_pictures(tmp_path, CameraSize(8, 6)), limit=4)
    Feed("a", events.append, options).run(threading.Event())
    kinds = [type(event) for event in events]
    assert kinds == [Facts, Sight, Sight, Fault, Fault, Facts, Sight, Sight, Ended]
    assert [event.number for event in events if isinstance(event, Sight)] == [0, 1, 2, 3]
    assert all(device.closed for device in opened)
    assert events[-1] == Ended("a")


def test_a_feed_of_the_c_device(program: Path, tmp_path: Path) -> None:
    """The hand-written library cannot judge pictures: the feed ends with the device's own refusal."""
    Image.new("RGB", (160, 120)).save(tmp_path / "a.png")
    events: list[Event] = []
    options = FeedOptions(frames=find_pictures(tmp_path, CameraSize()), timeout_s=20.0)
    Feed(f"exec:{program}", events.append, options).run(threading.Event())
    assert isinstance(events[0], Facts)
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert "UNSUPPORTED" in str(ended.error)


# ---- Terminal --------------------------------------------------------------------------------------------------


def test_half_blocks_show_two_pixels_in_a_character() -> None:
    picture = np.zeros((4, 2, 3), np.uint8)
    picture[0, 0] = (1, 2, 3)
    picture[1, 0] = (4, 5, 6)
    lines = half_blocks(picture, columns=2, rows=2)
    assert len(lines) == 2
    assert lines[0].startswith("\x1b[38;2;1;2;3;48;2;4;5;6m▀")
    assert [line.count("▀") for line in lines] == [2, 2]
    wide = half_blocks(np.zeros((60, 80, 3), np.uint8), columns=200, rows=20)
    assert len(wide) <= 20
    assert wide[0].count("▀") == 53  # 40 pixels down, 4:3


def test_drivable_pixels_are_green_and_the_others_darker() -> None:
    picture = np.full((2, 3, 3), 100, np.uint8)
    shown = tinted(picture, MASK)
    assert (shown[MASK] == np.asarray([75, 146, 105])).all()
    assert (shown[~MASK] == 70).all()
    assert tinted(None, MASK).shape == (2, 3, 3)
    assert DRIVABLE == (46, 204, 113)


def test_plain_lines() -> None:
    stream = io.StringIO()
    with PlainView(stream, with_address=True) as view:
        view.show(sight())
        view.show(Lines("a", ("one", "two")))
        view.show(Fault("a", LinkLost("gone")))
        view.show(Ended("a"))
    assert stream.getvalue().splitlines() == [
        "a  #7     GO   steer  -12  cover  80.0  90.0  10.5 %    9.5 fps  ms: model 0.8 line 12.3",
        "a  log: one",
        "a  log: two",
        "a  fault: gone; trying again",
    ]
    assert sight_line(sight()) in stream.getvalue()


def test_the_screen_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "20")
    with ScreenView(("a", "b"), stream) as view:
        view.show(sight())
        view.show(Fault("b", LinkLost("gone")))
    text = stream.getvalue()
    assert text.startswith("\x1b[?1049h")
    assert text.endswith("\x1b[?25h\x1b[?1049l")
    assert "GO   steer  -12" in text
    assert "gone; trying again" in text
    assert max(frame.count("\r\n") for frame in text.split("\x1b[H")) < 20
    view.show(Tuned("a", Tuning(13, Policy())))  # which no panel shows: nothing is drawn again
    assert stream.getvalue() == text


# ---- Page ------------------------------------------------------------------------------------------------------


def ask(server: MonitorServer, path: str, host: str | None = None) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.request("GET", path, headers={} if host is None else {"Host": host})
    return connection.getresponse()


def next_event(response: http.client.HTTPResponse) -> dict[str, dict[str, object]]:
    for line in iter(response.readline, b""):
        if line.startswith(b"data: "):
            document: dict[str, dict[str, object]] = json.loads(line[6:])
            return document
    raise AssertionError("the stream ended")


def test_the_page_and_its_stream() -> None:
    hub = Hub(("a", "b"))
    picture = CameraFrame(
        camera_frame(Image.new("RGB", (4, 2), (255, 0, 0)), CameraSize(4, 2), big_endian=True), 4, 2, True
    )
    hub.show(sight(1, picture=picture))
    hub.show(Lines("a", ("self-test passed",)))
    with MonitorServer(hub, 0) as server:
        page = ask(server, "/")
        text = page.read().decode()
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "http://" not in text.replace("http://www.w3.org", "")  # self-contained
        assert "https://" not in text
        stream = ask(server, "/events")
        first = next_event(stream)
        assert set(first) == {"a"}
        seen = first["a"]["sight"]
        assert isinstance(seen, dict)
        assert base64.b64decode(seen["picture"]["pixels"]) == picture.pixels
        assert (seen["decision"]["steer"], seen["stages_us"]) == (-12, {"model": 800, "line": 12_345})
        assert first["a"]["log"] == ["self-test passed"]
        hub.show(Fault("b", LinkLost("gone", hint="plug it in")))
        assert next_event(stream) == {"b": {"fault": {"error": "gone", "hint": "plug it in", "again": True}}}
        hub.show(sight(2))
        second = next_event(stream)
        assert set(second["a"]) == {"sight"}  # the log was seen
        assert ask(server, "/events").status == 200  # a second browser
        assert ask(server, "/other").status == 404
        for name, status in {
            "evil.example:80": 403, "evil.example": 403, "": 403, "127.0.0.1": 200, "LOCALHOST": 200, "[::1]:80": 200,
        }.items():  # fmt: skip
            assert ask(server, "/", host=name).status == status, name
        with pytest.raises(DeployError, match="cannot serve"):
            MonitorServer(hub, server.server_address[1])
    assert hub.wait(0, 1.0) is None  # closed: streams end


def test_browsers_that_go_leave_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """Before they asked, in the middle of a request, and with a reset while they are sent something."""
    hub = Hub(("a",))
    with MonitorServer(hub, 0) as server:
        for said in (b"", b"GET / HT", b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
            with socket.create_connection(server.server_address[:2]) as browser:
                browser.sendall(said)
                browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for number in range(3):
            hub.show(sight(number))
        assert ask(server, "/").status == 200
    assert capfd.readouterr().err == ""


def test_a_slow_browser_gets_the_newest_picture_and_every_line() -> None:
    hub = Hub(("a",))
    for number in range(5):
        hub.show(sight(number))
        hub.show(Lines("a", (f"line {number}",)))
    news = hub.wait(0, 0.1)
    assert news is not None
    assert news[1]["a"]["sight"]["number"] == 4
    assert news[1]["a"]["log"] == [f"line {number}" for number in range(5)]
    assert hub.wait(news[0], 0.01) == (news[0], {})


# ---- Ports -----------------------------------------------------------------------------------------------------


def _listed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    found = [SimpleNamespace(device=name, vid=0x303A, description="") for name in names]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: found)


def test_the_only_board_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    _listed(monkeypatch, "/dev/ttyACM0")
    assert ports.choose_ports(()) == ("/dev/ttyACM0",)
    assert ports.choose_ports(("COM7", "tcp://x:1")) == ("COM7", "tcp://x:1")
    _listed(monkeypatch)
    with pytest.raises(DeviceAbsent, match="no board") as nothing:
        ports.choose_ports(())
    assert "run --board host" in nothing.value.hint
    _listed(monkeypatch, "/dev/ttyACM0", "/dev/ttyACM1")
    with pytest.raises(DeviceAbsent, match="2 boards are plugged in") as several:
        ports.choose_ports(())
    assert several.value.hint == "--port /dev/ttyACM0, or several"


def test_hints_fit_what_went_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    _listed(monkeypatch, "/dev/ttyACM0")
    hints: dict[int | None, str] = {number: ports.opening_hint("/dev/tty", number) for number in (2, 11, 13, 16, None)}
    assert hints[2] == "plugged in: /dev/ttyACM0"
    assert hints[11] == hints[16] == "another program has it open: close its monitor or terminal"
    assert "log in again" in hints[13] or "chmod" in hints[13]
    assert "doctor" in hints[None]
