"""Served for real: sockets, pictures, who is let in, what garbage does, and three clients of which one is silent."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image
from required import unavailable
from viewer.web.web_rig import Served, Talker, serve_film, wait_until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from texvlm.errors import SourceError, ViewerUnavailable
from texvlm.viewer import PictureMode, ViewSettings
from texvlm.viewer.web.access import Access
from texvlm.viewer.web.clients import MOST_CLIENTS
from texvlm.viewer.web.messages import LONGEST_MESSAGE, read_packet
from texvlm.viewer.web.server import PAGE, PAGE_FILES


@pytest.fixture
def serve(monkeypatch):
    opened = []

    def serve(**options):
        opened.append(serve_film(monkeypatch, **options))
        return opened[-1]

    yield serve
    for served in opened:
        served.close()


@pytest.fixture
def talk():
    talkers = []

    def talk(served, **options):
        talkers.append(Talker(served, **options))
        return talkers[-1]

    yield talk
    for talker in talkers:
        talker.close()


def get(served, path, headers=None):
    request = urllib.request.Request(f"http://127.0.0.1:{served.port}{path}", headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.headers, refusal.read()


def test_a_move_is_seen_in_the_picture_that_says_so(serve, talk):
    served = serve()
    talker = talk(served)
    talker.say({"watch": "tokens", "box": [320, 240]})
    talker.say({"point": [0.25, 0.75], "number": 5})
    header, picture = talker.take_until(lambda header: header.get("seen") == 5)
    assert served.fixation == (0.25, 0.75)
    assert header["picture"]["fixations"] == [[0.25, 0.75]]
    assert header["picture"]["why"] == "pointer"
    decoded = Image.open(io.BytesIO(picture))
    assert list(decoded.size) == header["picture"]["size"] == [320, 213]
    assert header["picture"]["places"] == [[0, 0, 320, 213]]


def test_controls_do_what_they_say_and_everybody_is_told(serve, talk):
    served = serve()
    talker, other = talk(served), talk(served)
    for message, told in (
        ({"layout": "uniform"}, lambda state: state["layout"] == "uniform"),
        ({"layout": "quadtree"}, lambda state: state["layout"] == "quadtree"),
        ({"tokens": 1}, lambda state: state["tokens"] > 40),
        ({"threshold": -1}, lambda state: state["threshold"] == pytest.approx(4)),
        ({"pause": True}, lambda state: state["paused"]),
    ):
        talker.say(message)
        talker.take_until(lambda header, told=told: "state" in header and told(header["state"]))
        other.take_until(lambda header, told=told: "state" in header and told(header["state"]))
    frames = talker.state["frames"]
    talker.say({"step": 1})
    header, _ = talker.take_until(lambda header: "picture" in header)
    assert header["picture"]["frame"] == frames + 1
    talker.say({"pause": False})
    talker.take_until(lambda header: "state" in header and header["state"]["frames"] > frames + 3)


def test_while_it_is_paused_a_move_and_a_mode_are_still_drawn(serve, talk):
    served = serve()
    talker = talk(served)
    talker.say({"pause": True})
    talker.take_until(lambda header: header.get("state", {}).get("paused"))
    talker.say({"point": [0.9, 0.1], "number": 2})
    talker.take_until(lambda header: header.get("seen") == 2)
    talker.say({"watch": "changed", "box": [640, 400]})
    header, _ = talker.take_until(lambda header: "picture" in header)
    assert header["picture"]["mode"] == "changed"
    late = talk(served)
    header, picture = late.take_until(lambda header: "picture" in header)
    assert header["picture"]["fixations"] == [[0.9, 0.1]]
    assert picture


def test_what_cannot_be_had_is_told_to_who_asked_and_changes_nothing(serve, talk):
    served = serve()
    talker, other = talk(served), talk(served)
    for message, words in (({"policy": True}, "no look policy"), ({"layout": "spiral"}, "unknown layout")):
        talker.say(message)
        header, _ = talker.take_until(lambda header: "notices" in header)
        assert words in header["notices"][0]
    for _ in range(3):
        other.take()
    assert not other.notices
    assert other.state["layout"] == "quadtree"


def test_garbage_is_dropped_and_counted_and_nothing_else_happens(serve, talk):
    served = serve()
    talker, other = talk(served), talk(served)
    garbage = [b"\x00\xff" * 50, b"", "", "null", "{", '{"point": [1e999, 0]}', '{"ack": 12345}', "[" * 900, "💥" * 9]
    source = random.Random(5)
    garbage += [bytes(source.randrange(256) for _ in range(40)) for _ in range(30)]
    garbage += [json.dumps({source.choice(["point", "watch", "tokens", "x"]): source.random()}) for _ in range(30)]
    for piece in garbage:
        talker.say(piece)
    wait_until(lambda: served.clients.traffic().malformed == len(garbage))
    talker.take_until(lambda header: header.get("state", {}).get("malformed") == len(garbage))
    other.take()
    assert served.fixation == (0.5, 0.5)


def test_a_move_that_a_policy_passes_over_is_not_said_to_be_seen(serve, talk):
    served = serve(settings=ViewSettings("film", backend="cpu", tokens=40, patch=8, look="changes"))
    talker = talk(served)
    talker.say({"point": [0.2, 0.9], "number": 7})
    talker.say({"pause": True})
    talker.take_until(lambda header: header.get("heard") == 1)
    talker.say({"watch": "frame", "box": [200, 200]})
    header, _ = talker.take_until(lambda header: "picture" in header)
    assert header["seen"] == 0
    talker.say({"policy": False})
    talker.say({"point": [0.3, 0.9], "number": 8})
    talker.take_until(lambda header: header.get("seen") == 8)


def test_a_text_that_is_none_ends_its_connection_and_says_nothing_on_the_terminal(serve, talk, caplog):
    served = serve()
    talker, other = talk(served), talk(served)
    talker.socket.send(b"\xff\xfe", text=True)
    assert talker.code_at_end() == 1007
    wait_until(lambda: served.clients.traffic().malformed == 1)
    assert not caplog.records
    other.take()


def test_a_message_that_is_too_long_ends_its_connection_and_no_other(serve, talk):
    served = serve()
    talker, other = talk(served), talk(served)
    talker.say("x" * (LONGEST_MESSAGE + 1))
    assert talker.code_at_end() == 1009
    pieces = talk(served)
    with suppress(ConnectionClosed):
        pieces.socket.send("x" * (LONGEST_MESSAGE // 2) for _ in range(9))
    assert pieces.code_at_end() == 1009
    wait_until(lambda: served.clients.traffic().malformed == 2)
    wait_until(lambda: served.clients.traffic().clients == 1)
    other.take()


def test_three_clients_of_which_one_reads_nothing_leave_the_engine_alone(serve, talk):
    served = serve(size=(320, 192))
    silent, slow, quick = (talk(served) for _ in range(3))
    wait_until(lambda: served.clients.traffic().clients == 3)
    everybody = dict(served.clients._clients)
    for k in range(60):
        quick.take_until(lambda header: "picture" in header)
        if k % 20 == 0:
            slow.take_until(lambda header: "picture" in header)
    traffic = {number: (client.packets, client.pictures, client.skipped) for number, client in everybody.items()}
    by_pace = sorted(traffic.values())
    assert by_pace[0][0] == 1  # the one that reads nothing has had one packet, and nobody has waited for it
    assert by_pace[1][1] < by_pace[2][1]
    assert by_pace[1][2] > 10  # what a slow one misses is skipped, not kept
    frames = served.viewer.session.statistics().frames
    assert frames >= by_pace[2][1] - 1
    wait_until(lambda: served.viewer.session.statistics().frames > frames + 30)
    silent.take()  # it is still there, and may begin to read
    silent.take()


def test_frames_are_copied_only_while_somebody_looks(serve, talk):
    served = serve()
    wait_until(lambda: served.viewer.session.statistics().frames > 10)
    assert served.viewer.copies == 0
    talker = talk(served)
    for _ in range(3):
        talker.take()
    assert served.viewer.copies >= 1
    talker.close()
    wait_until(lambda: served.clients.traffic().clients == 0)
    copies, frames = served.viewer.copies, served.viewer.session.statistics().frames
    wait_until(lambda: served.viewer.session.statistics().frames > frames + 10)
    assert served.viewer.copies <= copies + 1


def test_the_page_is_whole_and_asks_nobody_else(serve):
    served = serve()
    status, headers, page = get(served, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert page == (PAGE / "index.html").read_bytes()
    assert {path.name for path in PAGE.iterdir()} == {"index.html", *PAGE_FILES}
    for name in PAGE_FILES:
        status, headers, text = get(served, f"/page/{name}")
        assert (status, headers.get_content_type()) == (200, PAGE_FILES[name])
        assert b"://" not in text.replace(b"http://www.w3.org/2000/svg", b"")
        assert f"page/{name}".encode() in page or f"./{name}".encode() in get(served, "/page/view.js")[2]
    assert b"://" not in page
    for path in ("/page/server.py", "/page/..%2fserver.py", "/docs", "/openapi.json", "/nothing"):
        assert get(served, path)[0] == 404


def test_a_png_is_the_frame_without_loss(serve):
    served = serve(times=[0.0], size=(640, 128), settings=ViewSettings("film", backend="cpu", tokens=40, threshold=0))
    status, headers, png = get(served, "/picture.png?mode=frame")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    picture = np.asarray(Image.open(io.BytesIO(png)))
    stored = served.viewer.session.engine.read_level(0)
    assert (picture[:, :200] == stored[:, :200]).all()  # the middle is marked
    status, _, words = get(served, "/picture.png?mode=everything")
    assert status == 400
    assert b"accepted: frame, reconstruction" in words
    assert Image.open(io.BytesIO(get(served, "/picture.png")[2])).size == (2 * 640 + 4, 128)


def test_other_sites_get_nothing(serve, talk):
    served = serve()
    for origin in ("http://evil.example", f"http://localhost:{served.port}", "null"):
        with pytest.raises(InvalidStatus) as refused:
            talk(served, origin=origin)
        assert refused.value.response.status_code == 403
    talk(served, origin=None).take()  # no browser: nobody's page
    rebound = {"Host": f"evil.example:{served.port}"}
    for path in ("/", "/picture.png"):
        status, _, words = get(served, path, rebound)
        assert status == 403
        assert words.count(b"\n") == 1
        assert b"not this viewer's" in words
    status, headers, words = get(served, "/picture.png", {"Sec-Fetch-Site": "cross-site"})  # an img sends no Origin
    assert (status, words.count(b"\n")) == (403, 1)
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert served.clients.traffic().connected == 1


def test_where_the_network_reaches_it_a_token_is_asked_for(serve, talk):
    served = serve(host="0.0.0.0")
    token = served.server.access.token
    assert served.server.url.endswith(f":{served.port}/?token={token}")
    for wrong in ("", "?token=", "?token=guess"):
        assert get(served, f"/{wrong}")[0] == get(served, f"/picture.png{wrong}")[0] == 403
    with pytest.raises(InvalidStatus):
        talk(served)
    with pytest.raises(InvalidStatus):
        talk(served, token="guess")
    assert get(served, f"/?token={token}")[0] == 200
    assert get(served, f"/picture.png?token={token}")[0] == 200
    talk(served, token=token).take()


def test_it_speaks_https_where_a_certificate_is_given(serve, tmp_path):
    if shutil.which("openssl") is None:
        unavailable("openssl", "no openssl here to make a certificate with")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    served = serve(certificate=certificate, key=key)
    assert served.server.url.startswith("https://127.0.0.1:")
    trusted = ssl.create_default_context(cafile=certificate)
    with urllib.request.urlopen(served.server.url, timeout=10, context=trusted) as page:
        assert page.read() == (PAGE / "index.html").read_bytes()
    url = served.server.url.replace("https", "wss") + "socket"
    with connect(url, ssl=trusted, origin=served.server.url.rstrip("/")) as client:
        assert read_packet(client.recv(10))[0]["packet"] == 1


def test_it_serves_again_on_the_same_port(serve, talk):
    first = serve()
    talker = talk(first)
    talker.take()
    port = first.port
    first.close()
    assert talker.code_at_end() in (None, 1012)
    again = serve(port=port)
    talk(again).take()


def test_a_port_that_is_taken_is_one_line_and_leaves_nothing_open(serve):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ViewerUnavailable) as refused:
        serve(port=taken.getsockname()[1])
    assert "Address already in use; give another --port" in str(refused.value)
    for host in ("10.255.255.1", "nowhere.invalid"):
        with pytest.raises(ViewerUnavailable, match=f"cannot listen on {host}, port 0"):
            serve(host=host)


def test_there_is_room_for_so_many(serve, talk):
    served = serve()
    for _ in range(MOST_CLIENTS):
        talk(served)
    wait_until(lambda: served.clients.traffic().clients == MOST_CLIENTS)
    with pytest.raises(ConnectionClosed) as closed:
        talk(served).socket.recv(10)
    assert closed.value.rcvd.code == 1013
    assert "look already; come back later" in closed.value.rcvd.reason


def test_a_torn_film_ends_the_viewer_and_says_so(monkeypatch, talk):
    served = serve_film(monkeypatch, times=[0.0, 0.1], failing=True)
    wait_until(lambda: served._error is not None)
    with pytest.raises(SourceError, match="torn; splice it"):
        served.close()


def test_a_picture_stays_when_its_film_has_ended_unless_it_is_to_end(serve, talk):
    served = serve(times=[None])
    talker = talk(served)
    talker.take_until(lambda header: header.get("state", {}).get("finished"))
    talker.say({"point": [0.2, 0.3], "number": 1})
    talker.take_until(lambda header: header.get("seen") == 1)
    once = Served(ViewSettings("film", backend="cpu", tokens=40, patch=8, loop=False), until_s=0)
    once._thread.join(10)
    assert not once._thread.is_alive()
    once.close()


def test_what_browsers_show_first_can_be_chosen(serve, talk):
    talker = talk(serve(mode=PictureMode.CHANGED))
    talker.take_until(lambda header: "state" in header)
    assert talker.state["first_mode"] == "changed"
    assert Access(None, frozenset()).refusal(host="any", origin=None, token=None) is None


def test_the_program_of_the_documentation_runs():
    text = (PAGE.parents[3] / "docs" / "viewer-web.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(compile(program, "docs/viewer-web.md", "exec"), {})
