"""What Python and native code print is held back, readable, and given back where it explains a failure."""

from __future__ import annotations

import ctypes
import os
import sys
import threading

import pytest

from codegen.captured_output import captured_output, silenced

LIBC = ctypes.CDLL(None)


def speak(word: str) -> None:
    """On every way to the two descriptors."""
    print(f"python {word}")
    LIBC.printf(f"native {word}\n".encode())
    os.write(2, f"descriptor {word}\n".encode())


def own_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams on descriptors 1 and 2, as in a program; pytest's own are elsewhere."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        monkeypatch.setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115


def test_everything_is_captured_and_nests(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    own_streams(monkeypatch)
    with captured_output() as outer:
        speak("outer")
        with captured_output() as inner:
            speak("inner")
            assert {"python inner", "native inner", "descriptor inner"} <= set(inner().splitlines())
            assert "outer" not in inner()
        speak("again")
        assert {"native outer", "native again"} <= set(outer().splitlines())
        assert "inner" not in outer()
    speak("after")
    sys.stdout.flush()
    LIBC.fflush(None)
    assert "native after" in (said := capfd.readouterr().out)
    assert "outer" not in said
    assert "inner" not in said


def test_threads_take_turns() -> None:
    """Else the one that enters last gives the descriptors the other's file for good."""
    before, inside = os.fstat(1), threading.Event()

    def second() -> None:
        with captured_output():
            inside.set()

    with captured_output():
        thread = threading.Thread(target=second)
        thread.start()
        assert not inside.wait(0.2)
    thread.join(60)
    assert inside.is_set()
    after = os.fstat(1)
    assert (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino)


def test_silence_ends_where_it_would_hide_a_failure(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_streams(monkeypatch)
    with silenced():
        speak("nothing")
    assert "nothing" not in "".join(capfd.readouterr())

    def fail() -> None:
        with silenced():
            speak("reason")
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    sys.stderr.flush()
    assert {"python reason", "native reason"} <= set(capfd.readouterr().err.splitlines())
