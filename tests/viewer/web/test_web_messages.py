"""What clients may say: every message comes back as what it means, and nothing else gets through."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from texvlm.viewer.modes import PictureMode
from texvlm.viewer.web import messages
from texvlm.viewer.web.messages import LONGEST_MESSAGE, read_message, read_packet, write_packet

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(sorted(messages._KINDS))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ('{"ack": 7}', messages.Ack(7)),
        ('{"point": [0.25, 1], "number": 3}', messages.Point(0.25, 1.0, 3)),
        ('{"point": [0.25, 1]}', messages.Point(0.25, 1.0, 0)),
        ('{"watch": "tokens", "box": [640, 360]}', messages.Watch(PictureMode.TOKENS, (640, 360))),
        ('{"layout": "rings"}', messages.SetLayout("rings")),
        ('{"tokens": -1}', messages.ChangeTokens(-1)),
        ('{"threshold": 1}', messages.ChangeThreshold(1)),
        ('{"pause": true}', messages.Pause(True)),
        ('{"step": 1}', messages.Step()),
        ('{"policy": false}', messages.Follow(False)),
    ],
)
def test_each_message_is_what_it_says(text, meaning):
    assert read_message(text) == meaning


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"ack": true}',
        '{"ack": -1}',
        '{"ack": 1e3}',
        '{"ack": 100000000000000000000}',
        '{"point": [NaN, 0]}',
        '{"point": [Infinity, 0]}',
        '{"point": [0]}',
        '{"point": "ab"}',
        '{"point": [true, 0]}',
        '{"point": [1' + "0" * 400 + ", 0]}",
        '{"watch": "everything", "box": [1, 1]}',
        '{"watch": "tokens"}',
        '{"watch": "tokens", "box": [0, 1]}',
        '{"watch": "tokens", "box": [100000, 1]}',
        '{"tokens": 2}',
        '{"tokens": true}',
        '{"pause": 1}',
        '{"layout": ""}',
        '{"layout": ["rings"]}',
        '{"layout": "' + "x" * 41 + '"}',
        '{"pause": true' + " " * LONGEST_MESSAGE + "}",
        "[" * 1000,
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        read_message(text)


@given(st.text(max_size=60) | JSON.map(json.dumps) | st.builds(lambda key, value: json.dumps({key: value}), KEYS, JSON))
@example('{"point": [1e400, 0]}')
def test_whatever_comes_is_a_message_or_a_value_error(text):
    try:
        message = read_message(text)
    except ValueError:
        return
    assert type(message) in (*messages.Command.__args__, messages.Ack, messages.Point, messages.Watch)


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=4), st.binary(max_size=40))
def test_packets_come_back(header, picture):
    packet = write_packet(header, picture)
    assert read_packet(packet) == (header, picture)
    if not picture:
        with pytest.raises(ValueError, match="cut short"):
            read_packet(packet[:-1])
