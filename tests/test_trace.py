"""Traces: the ranges that a profiler sees, in a file that trace viewers read."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from texvlm import Engine
from texvlm.errors import StoreError
from texvlm.profiling import StageTimes, listen, profile_range
from texvlm.trace import HELD, Trace, traced_to


def events_of(path):
    return [event for event in json.loads(path.read_text()) if event.get("ph") == "X"]


def test_an_engine_leaves_its_ranges_in_the_order_of_time(tmp_path):
    with traced_to(tmp_path / "t.json") as trace, Engine(tokens=20, backend="cpu") as engine:
        engine.submit(np.zeros((64, 96, 3), np.uint8))
        engine.tokens()
    events = events_of(tmp_path / "t.json")
    assert len(events) == trace.events
    names = [event["name"] for event in events]
    assert [name for name in ("upload", "build_mips", "plan", "sample") if name in names] == [
        "upload",
        "build_mips",
        "plan",
        "sample",
    ]
    assert {event["cat"] for event in events} <= {"upload", "mip", "sample", "map", "decode"}
    ends = [event["ts"] + event["dur"] for event in events]
    assert ends == sorted(ends)
    assert all(event["ts"] >= 0 and event["dur"] >= 0 for event in events)


def test_payloads_and_threads_are_named(tmp_path):
    def work():
        with profile_range("away", "decode", 7):
            pass

    with traced_to(tmp_path / "t.json"):
        thread = threading.Thread(target=work, name="a helper")
        thread.start()
        thread.join()
        with profile_range("here", "sample"):
            pass
    events = json.loads((tmp_path / "t.json").read_text())
    away, here = (next(event for event in events if event.get("name") == name) for name in ("away", "here"))
    assert away["args"] == {"payload": 7}
    assert "args" not in here
    assert away["tid"] != here["tid"]
    names = {event["tid"]: event["args"]["name"] for event in events if event.get("name") == "thread_name"}
    assert names[away["tid"]] == "a helper"
    assert events[0]["args"]["name"] == "texvlm"


def test_nothing_is_heard_outside_the_scope(tmp_path):
    with traced_to(tmp_path / "t.json"):
        pass
    with profile_range("late", "sample"):
        pass
    assert not events_of(tmp_path / "t.json")
    with traced_to(None) as nothing:
        assert nothing is None


def test_a_listener_stands_in_for_one_before_it():
    class Ear:
        def __init__(self):
            self.heard = []

        def note(self, name, *_):
            self.heard.append(name)

    outer, inner = Ear(), Ear()
    with listen(outer):
        with listen(inner), profile_range("a", "sample"):
            pass
        with StageTimes("b").stage("b", "sample"):
            pass
    assert (outer.heard, inner.heard) == (["b"], ["a"])


def test_a_range_is_heard_of_also_when_its_work_fails(tmp_path):
    with traced_to(tmp_path / "t.json"), pytest.raises(ZeroDivisionError), profile_range("broken", "sample"):
        _ = 1 / 0
    assert [event["name"] for event in events_of(tmp_path / "t.json")] == ["broken"]


def test_a_long_trace_is_written_as_it_comes(tmp_path):
    path = tmp_path / "t.json"
    with Trace(path) as trace:
        for k in range(2 * HELD):
            trace.note(f"r{k}", "sample", None, k, k + 1)
        trace._file.flush()
        assert path.read_text().count('"ph":"X"') >= HELD
    assert len(events_of(path)) == 2 * HELD
    trace.close()


def test_a_trace_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(StoreError, match="cannot write trace"):
        Trace(tmp_path / "nowhere" / "t.json")
    trace = Trace("/dev/full")
    for k in range(3 * HELD):
        trace.note("r", "sample", None, k, k + 1)  # whoever is traced is not disturbed
    with pytest.raises(StoreError, match=r"cannot write trace /dev/full: No space left"):
        trace.close()
