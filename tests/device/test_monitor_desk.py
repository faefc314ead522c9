"""What a person may ask for on the monitor's page, and records of feeds: typed, bounded, and played as they were."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from codegen.graph.contract import decision_threshold
from codegen.tflite.files import contract_graph
from nanou_deploy.build.drive_config import Policy
from nanou_deploy.build.library import open_model
from nanou_deploy.cli.monitor_desk import save
from nanou_deploy.cli.project_edit import edited
from nanou_deploy.cli.project_file import read_project
from nanou_deploy.device.errors import DeviceRefused, LinkLost
from nanou_deploy.device.messages import CameraFrame, Decision, DeviceInfo, TensorInfo
from nanou_deploy.device.motors import Motors, PwmChannel
from nanou_deploy.device.tuning import Tuning
from nanou_deploy.errors import DeployError
from nanou_deploy.monitor.desk import Controls, Desk, checked_numbers
from nanou_deploy.monitor.events import Ended, Event, Facts, Fault, Lines, MotorsTold, Sight, Tuned
from nanou_deploy.monitor.feed import Feed, FeedOptions
from nanou_deploy.monitor.feed_file import Recorder, addresses_of, play, read_record
from nanou_deploy.monitor.web import Hub, MonitorServer
from tests.command_line import run

TUNING = Tuning(13, Policy())
MOTORS = Motors(True, 12, "", True, 30, 0, 0, (PwmChannel(0, 50_000, 25_000),))
TENSOR = TensorInfo("x", "int8", (1, 2, 3, 1), 6, 0.1, 3)
INFO = DeviceInfo(
    2, 2, "host", "aot", "small", "ab" * 32, (TENSOR,), (TENSOR,), 13, 10, 10, 0, 5, "gcc", "power-on", "passed", False,
    False, True, True, True, 0, 12, 0, 0, 0, 1, 0,
)  # fmt: skip
MASK = np.packbits(np.array([[1, 0, 0], [0, 1, 1]], np.bool_), axis=1).tobytes()
PICTURE = CameraFrame(bytes(range(12)), 3, 2, True)
SIGHT = Sight("a", 7, PICTURE, MASK, 3, 2, Decision(True, -12, 800, 900, 105), 9.5, 0.0, (("model", 800),), 0, 0)
EVENTS: tuple[Event, ...] = (
    Facts("a", INFO), Tuned("a", TUNING), SIGHT, replace(SIGHT, picture=None, number=8), MotorsTold("a", MOTORS),
    Lines("a", ("motors GO", "two")), Fault("b", LinkLost("gone", hint="plug it in")), Ended("b", DeployError("no")),
    Ended("a"),
)  # fmt: skip


# ---- Feeds -----------------------------------------------------------------------------------------------------


class TunedDevice:
    """A device that shows pictures and can be tuned; it refuses a `go` of 999."""

    def __init__(self) -> None:
        self.now = TUNING

    def __enter__(self) -> TunedDevice:
        return self

    def __exit__(self, *_: object) -> None: ...

    def info(self) -> SimpleNamespace:
        return SimpleNamespace(has_camera=True, rehearses=False, tunes=True)

    def logs(self) -> list[str]:
        return []

    def motors(self) -> Motors:
        return MOTORS

    def tuning(self) -> Tuning:
        return self.now

    def tune(self, tuning: Tuning) -> Tuning:
        if tuning.policy.go == 999:
            raise DeviceRefused("the device refused", status=5, name="RANGE")
        self.now = tuning
        return tuning

    def stream(self, **_: object) -> Any:
        decision = SIGHT.decision
        stages = SimpleNamespace(capture_us=1, preprocessing_us=1, model_us=1, mask_us=1)
        while True:
            yield SimpleNamespace(
                number=1, picture=None, mask=MASK, width_px=3, height_px=2, decision=decision, fps=5.0, lost=0,
                stages=stages,
            )  # fmt: skip


def tuned_by(*asked: dict[str, int], motors: bool = True, device: TunedDevice | None = None) -> list[Event]:
    """The events of a feed of which each of these is asked after a picture."""
    controls, events, wanted = Controls(("a",)), list[Event](), list(asked)

    def sink(event: Event) -> None:
        events.append(event)
        if isinstance(event, Sight) and wanted:
            controls.ask("a", wanted.pop(0))

    options = FeedOptions(limit=len(asked) + 1, controls=controls, motors=motors)
    Feed("a", sink, options, device or TunedDevice()).run(threading.Event())  # type: ignore[arg-type]
    return events


def test_a_feed_tunes_its_device_and_says_what_it_drives_by() -> None:
    events = tuned_by({"go": 800}, {"go": 100}, {"go": 999}, {"threshold_q": 20})
    told = [event for event in events if isinstance(event, Tuned)]
    assert [one.tuning.policy.go for one in told] == [700, 800, 800, 800, 800]
    assert [bool(one.error) for one in told] == [False, False, True, True, False]
    assert told[-1].tuning.threshold_q == 20
    assert MotorsTold("a", MOTORS) in events
    with pytest.raises(DeployError, match="not watched"):
        Controls(("a",)).ask("b", {})


def test_motors_are_asked_for_only_where_they_are_shown() -> None:
    class Asked(TunedDevice):
        def motors(self) -> Motors:
            raise AssertionError("MOTORS was asked for")

    assert isinstance(tuned_by({}, motors=False, device=Asked())[-1], Ended)
    with pytest.raises(AssertionError):
        tuned_by({}, device=Asked())


# ---- The page --------------------------------------------------------------------------------------------------


def post(
    server: MonitorServer, path: str, body: bytes, *, token: str | None = None, **headers: str
) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    sent = {"X-Nanou-Token": server.token if token is None else token, **headers}
    connection.request("POST", path, body, headers={key.replace("_", "-"): value for key, value in sent.items()})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_only_this_servers_page_tunes_and_only_numbers() -> None:
    controls, saved = Controls(("a",)), list[dict[str, int]]()

    def keep(numbers: Any) -> str:
        saved.append(dict(numbers))
        return "kept"

    good = json.dumps({"address": "a", "numbers": {"go": 650}}).encode()
    with MonitorServer(Hub(("a",)), 0, desk=Desk(controls, keep)) as server:
        for token in ("", "x", "é", server.token[:-1]):
            assert post(server, "/tune", good, token=token.encode().decode("latin-1"))[0] == 403
        assert post(server, "/tune", good, Host="evil.example")[0] == 403
        assert post(server, "/other", good)[0] == 404
        for body in (b"", b"x", b"[]", b"{}", b'{"address": 1}', b'{"address": "a"}', b"\xff", b"[" * 2000,
                     b'{"address": "a", "numbers": {"go": "1"}}', b'{"address": "a", "numbers": {"go": true}}',
                     b'{"address": "a", "numbers": {"hold_ms": 9000}}', b'{"address": "a", "numbers": {"go": 1e9}}',
                     b'{"address": "a", "numbers": {"go": 1, "go": 2}}', b" " * 5000):  # fmt: skip
            status, said = post(server, "/tune", body)
            assert (status, set(said)) == (400, {"error"}), body
        assert post(server, "/tune", good, Content_Length="99999999999999999999")[0] == 400
        assert post(server, "/tune", good.replace(b'"a"', b'"other"'))[0] == 409
        assert controls.take("a") == {}
        assert saved == []
        assert post(server, "/tune", good) == (200, {"said": ""})
        assert post(server, "/save", good) == (200, {"said": "kept"})
        assert controls.take("a") == saved[0] == {"go": 650}
        page = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        page.request("GET", "/")
        assert server.token in page.getresponse().read().decode()


def test_a_page_for_others_only_shows() -> None:
    desk = Desk(Controls(("a",)), lambda _: "")
    with MonitorServer(Hub(("a",)), 0, bind="0.0.0.0", desk=desk) as server:
        assert post(server, "/tune", b"{}")[0] == 403
        page = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        page.request("GET", "/")
        assert server.token not in page.getresponse().read().decode()


@pytest.mark.parametrize("document", [None, [], {}, {"x": 1}, {"go": 1.0}, {"go": None}, {"go": 10**30}])
def test_other_things_are_no_numbers(document: object) -> None:
    with pytest.raises(ValueError, match="number"):
        checked_numbers(document)


# ---- The project file ------------------------------------------------------------------------------------------

OWN = """# my robot

board = "esp32cam"   # the one with the red dot
policy = 'stop=450,hold_ms=900' # slower

[data]  # pictures
root = "data"
# group_by = '^drive'  # not yet
"""


def test_a_persons_file_keeps_its_lines() -> None:
    made = edited(OWN, {"policy": "go=800", "threshold": "0.61", "data.group_by": "^x", "camera.flip": "both"})
    assert "# my robot" in made
    assert 'board = "esp32cam"   # the one with the red dot' in made
    assert 'policy = "go=800"                     # slower' in made
    assert 'group_by = "^x"                       # not yet' in made
    assert made.index("threshold") < made.index("[data]")
    assert made.endswith('[camera]\nflip = "both"\n')
    assert edited(made, {"policy": "go=800"}) == made


@pytest.mark.parametrize("text", ['policy = """go=1"""', '"policy" = "go=700"', "policy = '''go=1'''\n"])
def test_what_cannot_be_edited_is_said(text: str) -> None:
    with pytest.raises(DeployError, match="cannot be edited") as refused:
        edited(text, {"policy": "go=800"})
    assert 'policy = "go=800"' in refused.value.hint


def test_numbers_of_the_page_become_the_projects(tmp_path: Path) -> None:
    path, model = tmp_path / "nanou.toml", open_model(None)
    graph = contract_graph(model.flatbuffer)
    with pytest.raises(DeployError, match="there is no"):
        save(TUNING.numbers(), model, path)
    path.write_text(OWN)
    own_q = decision_threshold(model, graph)
    save({**TUNING.numbers(), "go": 800, "threshold_q": own_q}, model, path)
    project = read_project(path)
    assert project is not None
    assert project.values["policy"] == "go=800,stop=550,hold_ms=900"
    assert "threshold" not in project.values
    for threshold_q in (own_q + 5, own_q - 60, own_q):
        save({**TUNING.numbers(), "threshold_q": threshold_q}, model, path)
        project = read_project(path)
        assert project is not None
        stated = float(project.values["threshold"])
        assert decision_threshold(open_model(None, threshold=stated), graph) == threshold_q
    with pytest.raises(DeployError, match="larger than go"):
        save({"go": 100}, None, path)


# ---- Records ---------------------------------------------------------------------------------------------------


def record(path: Path, events: tuple[Event, ...] = EVENTS) -> list[Event]:
    shown: list[Event] = []
    with Recorder(path, shown.append) as recorder:
        for event in events:
            recorder.show(event)
    return shown


def in_words(event: Event) -> object:
    """An event with its error as words: errors are not equal to each other."""
    if isinstance(event, Fault | Ended):
        return type(event), event.address, str(event.error or ""), event.error.hint if event.error else ""
    return event


def test_a_record_is_played_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "feed.jsonl"
    assert record(path) == list(EVENTS)
    assert addresses_of(path) == ("a", "b")
    played: list[Event] = []
    play(path, played.append)
    assert [in_words(event) for event in played] == [in_words(event) for event in EVENTS]
    with pytest.raises(DeployError, match="exists already"):
        Recorder(path, played.append)
    torn = path.read_bytes()
    path.write_bytes(torn[:-20])  # killed while it wrote
    assert len(list(read_record(path))) == len(EVENTS) - 1


def test_the_command_replays(tmp_path: Path) -> None:
    record(tmp_path / "feed")
    done = run("monitor", "--replay", "feed", "--fps", "1000", cwd=tmp_path)
    assert done.returncode == 0, done
    assert "a  log: motors GO" in done.stdout
    assert "b  fault: gone; trying again" in done.stdout
    assert run("monitor", "--replay", "feed", "--port", "x", cwd=tmp_path).returncode == 2
    (tmp_path / "other").write_text("{}\n")
    assert "no record of a monitor" in run("monitor", "--replay", "other", cwd=tmp_path).stderr


def _line(path: Path, kind: str) -> dict[str, Any]:
    record(path)
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    found: dict[str, Any] = next(line for line in lines if kind in line)
    return found


HOSTILE = {
    "another key": ("sight", lambda d: d.update(x=1)),
    "two events": ("sight", lambda d: d.update(lines={"address": "a", "lines": []})),
    "no event": ("sight", lambda d: d.pop("sight")),
    "time that is none": ("sight", lambda d: d.update(at_s=float("nan"))),
    "time before": ("sight", lambda d: d.update(at_s=-1)),
    "long address": ("sight", lambda d: d["lines"] if "lines" in d else d["sight"].update(stages_us=[["x", 1]] * 17)),
    "a mask too short": ("sight", lambda d: d["sight"].update(mask="AA==")),
    "a mask that is none": ("sight", lambda d: d["sight"].update(mask="?")),
    "a huge mask": ("sight", lambda d: d["sight"].update(width_px=10**9)),
    "no width": ("sight", lambda d: d["sight"].update(width_px=0)),
    "other pixels": ("sight", lambda d: d["sight"]["picture"].update(width_px=4)),
    "steer": ("sight", lambda d: d["sight"]["decision"].update(steer=101)),
    "cover": ("sight", lambda d: d["sight"]["decision"].update(centre_permille=1001)),
    "words for a number": ("sight", lambda d: d["sight"].update(number="many")),
    "a policy that contradicts itself": ("tuned", lambda d: d["tuned"]["tuning"]["policy"].update(go=1)),
    "a list for a text": ("lines", lambda d: d["lines"].update(lines=[["x"]])),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_strangers_record_is_refused_with_its_line(tmp_path: Path, what: str) -> None:
    kind, spoil = HOSTILE[what]
    document = _line(tmp_path / "sound", kind)
    spoil(document)
    path = tmp_path / "spoilt"
    header = (tmp_path / "sound").read_text().splitlines()[0]
    path.write_text(f"{header}\n{json.dumps(document)}\n")
    with pytest.raises(DeployError, match="line 2"):
        list(read_record(path))


def test_a_strangers_texts_lose_what_a_terminal_acts_on(tmp_path: Path) -> None:
    record(tmp_path / "feed", (Lines("\x1b[2J", ("\x1b]0;x\x07", "\u202egood")), Ended("a", DeployError("\x1b[31m"))))
    first, last = (played.event for played in read_record(tmp_path / "feed"))
    assert isinstance(first, Lines)
    assert all(text.isprintable() for text in (first.address, *first.lines))
    assert isinstance(last, Ended)
    assert str(last.error).isprintable()


def test_pictures_are_the_same_bytes(tmp_path: Path) -> None:
    document = _line(tmp_path / "feed", "sight")
    assert base64.urlsafe_b64decode(document["sight"]["picture"]["pixels"]) == PICTURE.pixels
