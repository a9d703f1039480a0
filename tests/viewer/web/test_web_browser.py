"""The page in a real browser: what is seen, what pointer, touch and keys do, and how it gets over losses."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from PIL import Image
from viewer.films import pixels
from viewer.web.browsers import Page, chromium  # noqa: F401 - a fixture
from viewer.web.web_rig import Talker, serve_film, wait_until

from texvlm.viewer import ViewSettings
from texvlm.viewer.web.clients import MOST_CLIENTS, Requests

pytestmark = pytest.mark.browser
SIZE = (640, 384)
SETTINGS = ViewSettings("film", backend="cpu", tokens=100, patch=8, threshold=0)


@pytest.fixture
def serve(monkeypatch):
    opened = []

    def serve(**options):
        opened.append(serve_film(monkeypatch, **{"size": SIZE, "settings": SETTINGS, **options}))
        return opened[-1]

    yield serve
    for served in opened:
        served.close()


@pytest.fixture
def look(chromium):  # noqa: F811
    pages = []

    def look(served, *, settle=True, **options):
        page = Page(chromium, served, **options)
        pages.append(page)
        if settle:
            page.settled()
        return page

    yield look
    for page in pages:
        page.close()


def near(found, wanted, within=0.01):
    return found is not None and max(abs(a - b) for a, b in zip(found, wanted, strict=True)) < within


def test_the_picture_is_the_film_and_nothing_is_asked_of_others(serve, look):
    served = serve(times=[0.0])
    page = look(served)
    page.page.click("text=frame >> nth=0")
    assert page("texvlm.mode") == "frame"
    page.settled()
    page.page.locator("#picture").scroll_into_view_if_needed()
    shot = np.asarray(Image.open(io.BytesIO(page.page.locator("#picture").screenshot())).convert("RGB"))
    frame = np.asarray(Image.fromarray(pixels(0, SIZE)).resize(shot.shape[1::-1]))
    corner = (slice(20, shot.shape[0] // 3), slice(20, shot.shape[1] // 3))
    assert np.abs(shot[corner].astype(int) - frame[corner]).mean() < 6
    assert {url.split("/")[2] for url in page.requests if "://" in url} == {f"127.0.0.1:{served.port}"}
    assert not page.errors


def test_the_pointer_moves_the_fixation_in_every_picture(serve, look):
    served = serve()
    page = look(served)
    for part, place in ((0, (0.2, 0.3)), (1, (0.8, 0.6))):
        page.page.mouse.move(*page.point(*place, part=part))
        page.wait_until(lambda place=place: near(served.fixation, place))
        page.wait_for(
            f"texvlm.picture.fixations.length && Math.abs(texvlm.picture.fixations[0][0] - {place[0]}) < 0.01"
        )
    assert page.wait_for("texvlm.meter.latencies_ms.length") >= 2
    print("move to picture, ms:", page("texvlm.meter.latencies_ms"))


def test_touch_and_keys_and_sliders_move_it_too(serve, look):
    served = serve()
    page = look(served, has_touch=True)
    page.page.touchscreen.tap(*page.point(0.25, 0.25))
    page.wait_until(lambda: near(served.fixation, (0.25, 0.25)))
    page.page.focus("#picture")
    page.page.keyboard.press("ArrowRight")
    page.wait_until(lambda: near(served.fixation, (0.27, 0.25)))
    page.page.keyboard.press("ArrowDown")
    page.wait_until(lambda: near(served.fixation, (0.27, 0.27)))
    page.page.focus("#across")
    page.page.keyboard.press("End")
    page.wait_until(lambda: served.fixation[0] == 1.0)


def test_controls_do_what_they_say(serve, look):
    served = serve()
    page, session = look(served), served.viewer.session
    page.page.select_option("#layout", "uniform")
    page.wait_until(lambda: session.layout_name == "uniform")
    page.wait_for("document.getElementById('status').textContent.startsWith('Layout uniform')")
    page.page.select_option("#layout", "quadtree")
    page.wait_for("document.getElementById('status').textContent.startsWith('Layout quadtree')")
    page.page.click("#more")
    page.wait_until(lambda: session.tokens > 100)
    page.page.click("#looser")
    page.wait_until(lambda: session.threshold == pytest.approx(1 / 255))
    page.page.click("#pause")
    page.wait_for("document.getElementById('pause').getAttribute('aria-pressed') === 'true'")
    frames = session.statistics().frames
    page.page.click("#step")
    page.wait_until(lambda: session.statistics().frames == frames + 1)
    for mode in ("frame", "reconstruction", "tokens", "changed", "reencoded", "both"):
        page.page.check(f"input[value={mode}]")
        page.wait_for(f"texvlm.picture.mode === '{mode}'")
    page.page.focus("#picture")
    page.page.keyboard.press(" ")
    page.wait_until(lambda: not session.player.paused)
    page.page.keyboard.press("3")
    page.wait_for("texvlm.picture.mode === 'tokens'")
    assert not page.errors


def test_a_policy_looks_until_somebody_takes_over(serve, look):
    policy = ViewSettings("film", backend="cpu", tokens=100, patch=8, look="changes")
    served = serve(settings=policy)
    page = look(served)
    page.wait_for("document.getElementById('policy').checked")
    page.page.mouse.click(*page.point(0.5, 0.9))
    page.wait_until(lambda: not served.viewer.session.follows_policy)
    page.wait_until(lambda: near(served.fixation, (0.5, 0.9)))
    page.wait_for("!document.getElementById('policy').checked")
    page.wait_for("document.getElementById('status').textContent === 'The pointer moves the fixation'")
    page.page.check("#policy")
    page.wait_until(lambda: served.viewer.session.follows_policy)


def test_a_control_shows_what_was_asked_until_the_viewer_has_heard_of_it(serve, look, monkeypatch):
    served = serve(settings=ViewSettings("film", backend="cpu", tokens=100, patch=8, look="changes"))
    page = look(served)
    take = served.clients.take_requests
    monkeypatch.setattr(served.clients, "take_requests", lambda: Requests([], None))  # the viewer is deaf
    page.page.uncheck("#policy")
    page.page.select_option("#layout", "uniform")
    page("window.told = texvlm.plot.samples.length")
    page.wait_for("texvlm.plot.samples.length >= told + 3")  # what it says was true before
    assert page("[document.getElementById('policy').checked, document.getElementById('layout').value]") == [
        False,
        "uniform",
    ]
    monkeypatch.setattr(served.clients, "take_requests", take)
    page.wait_for("!texvlm.state.policy && texvlm.state.layout === 'uniform'")
    page("texvlm.socket.send('{\"policy\": true}')")  # somebody else's wish counts again
    page.wait_for("document.getElementById('policy').checked")


def test_sliders_go_on_from_where_somebody_else_looked(serve, look):
    served = serve()
    page, other = look(served), Talker(served)
    other.say({"point": [0.8, 0.3], "number": 1})
    page.wait_for(
        "document.getElementById('across').value === '0.8' && document.getElementById('down').value === '0.3'"
    )
    page.page.focus("#down")
    page.page.keyboard.press("Home")
    page.wait_until(lambda: near(served.fixation, (0.8, 0.0)))
    other.close()


def test_a_picture_is_saved_without_loss(serve, look, tmp_path):
    served = serve(times=[0.0])
    page = look(served)
    page.page.check("input[value=frame]")
    page.settled()
    with page.page.expect_download() as download:
        page.page.click("#save")
    assert download.value.suggested_filename.endswith("-frame.png")
    download.value.save_as(tmp_path / "saved.png")
    saved = np.asarray(Image.open(tmp_path / "saved.png"))
    assert (saved[:100] == pixels(0, SIZE)[:100]).all()


def test_what_is_shown_is_recorded(serve, look, tmp_path):
    page = look(serve())
    page.page.focus("#picture")
    page.page.keyboard.press("r")
    page.wait_for("document.getElementById('record').getAttribute('aria-pressed') === 'true'")
    page.pictures(30)
    with page.page.expect_download() as download:
        page.page.click("#record")
    download.value.save_as(tmp_path / download.value.suggested_filename)
    (path,) = tmp_path.glob("texvlm-*.webm")
    with av.open(path) as film:
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(pictures) >= 5
    assert page("[texvlm.bitmap.width, texvlm.bitmap.height]") == list(pictures[-1].shape[1::-1])
    assert pictures[-1].std() > 30
    assert page("document.getElementById('record').getAttribute('aria-pressed')") == "false"
    assert not page.errors


def test_it_comes_back_after_the_server_has(serve, look):
    first = serve()
    page = look(first)
    port = first.port
    first.close()
    page.wait_for("document.getElementById('status').textContent.startsWith('Connection lost')")
    again = serve(port=port)
    page.wait_for("texvlm.meter.connections === 2")
    page.pictures(3)
    page.page.mouse.move(*page.point(0.3, 0.8))
    page.wait_until(lambda: near(again.fixation, (0.3, 0.8)))
    assert page("document.getElementById('status').className") == ""


def test_why_a_viewer_lets_nobody_in_is_said(serve, look):
    first = serve(host="0.0.0.0")
    token, port = first.server.access.token, first.port
    page = look(first, url=f"http://127.0.0.1:{port}/?token={token}")
    page.pictures()
    first.close()
    again = serve(host="0.0.0.0", port=port)
    page.wait_for("document.getElementById('status').textContent.includes('the token is missing or wrong')")
    assert again.clients.traffic().connected == 0


def test_where_there_is_no_room_that_is_said(serve, look, chromium):  # noqa: F811
    served = serve()
    others = [Talker(served) for _ in range(MOST_CLIENTS)]
    wait_until(lambda: served.clients.traffic().clients == MOST_CLIENTS)
    page = look(served, settle=False)
    page.wait_for("document.getElementById('status').textContent.includes('clients look already; come back later')")
    for other in others:
        other.close()
    page.settled()
    assert page("texvlm.meter.connections") == 1


def test_a_page_of_another_site_can_show_no_picture(serve, chromium):  # noqa: F811
    served, neighbour = serve(), serve()
    page = chromium.new_page()
    for host, came in ((served, "shown"), (neighbour, "refused")):
        page.goto(f"{host.server.url}nothing")  # a page without a policy of its own
        assert came == page.evaluate(
            f"""new Promise((done) => {{
                const picture = new Image();
                picture.onload = () => done("shown");
                picture.onerror = () => done("refused");
                picture.src = "{served.server.url}picture.png";
            }})"""
        )
    page.close()


def test_garbage_from_a_page_changes_nothing(serve, look):
    served = serve()
    page = look(served)
    page("for (const words of ['', '{', '[]', 'x'.repeat(900)]) texvlm.socket.send(words)")
    page("texvlm.socket.send(new Uint8Array(64))")
    page.wait_for("texvlm.state.malformed === 5")
    page.pictures()
    page("texvlm.socket.send('x'.repeat(5000))")
    page.wait_for("texvlm.meter.connections === 2")  # a flood ends the connection; the page makes another
    page.pictures()


def test_a_client_that_reads_nothing_holds_up_no_page(serve, look):
    served = serve()
    silent = Talker(served)
    pages = [look(served) for _ in range(2)]
    for page in pages:
        page.pictures(20)
    assert sorted(client.packets for client in served.clients._clients.values())[0] == 1
    silent.close()


def test_it_fits_the_window_and_asks_for_no_more_pixels(serve, look):
    page = look(serve(), viewport={"width": 420, "height": 700}, device_scale_factor=2)
    width = page("document.getElementById('picture').width")
    assert width <= 2 * 420
    assert page("document.documentElement.scrollWidth") <= 420
    page.page.set_viewport_size({"width": 300, "height": 700})
    page.settled()
    assert page("document.getElementById('picture').width") < width
    page.page.mouse.move(*page.point(0.4, 0.4))
    page.wait_until(lambda: near(page.served.fixation, (0.4, 0.4), 0.02))
    page.page.set_viewport_size({"width": 300, "height": 310})
    page.settled()
    assert page("document.getElementById('picture').getBoundingClientRect().height") <= 0.68 * 310 + 1


def test_everything_has_a_name_and_can_be_reached_by_keys(serve, look):
    page = look(serve())
    snapshot = page.page.locator("body").aria_snapshot()
    for words in (
        'application "film, quadtree layout',
        'radio "changed tiles"',
        'button "fewer tokens"',
        'combobox "layout"',
    ):
        assert words in snapshot
    for words in ("slider", "status", 'img "Stage times'):
        assert words in snapshot
    assert 'button ""' not in snapshot
    reached = []
    page.page.focus("#picture")
    for _ in range(15):
        reached.append(page("document.activeElement.id || document.activeElement.name"))
        page.page.keyboard.press("Tab")
    order = [
        "picture",
        "mode",
        "pause",
        "step",
        "save",
        "record",
        "layout",
        "fewer",
        "more",
        "stricter",
        "looser",
        "across",
        "down",
    ]
    assert reached[: len(order)] == order
    page.page.focus("#layout")
    page.page.keyboard.press("s")  # a letter there is the list's
    assert page("texvlm.state.layout") == "quadtree" or page("document.activeElement.id") == "layout"


def test_the_plot_is_drawn(serve, look):
    page = look(serve())
    page.wait_for("texvlm.plot.samples.length >= 2")
    inked = page(
        "(() => { const c = document.getElementById('plot'); const d = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data; return d.some((value, k) => k % 4 === 3 && value > 0); })()"
    )
    assert inked
    assert page("document.getElementById('stages').rows.length") >= 5
    assert page("document.getElementById('facts').innerText").startswith("frames/s")
