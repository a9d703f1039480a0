"""The page in a real browser: what is seen, what pointer, touch and keys do, and how it gets over losses."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from viewer.films import pixels
from viewer.web.browsers import Page, chromium  # noqa: F401 - a fixture
from viewer.web.web_rig import Talker, serve_film

from texvlm.viewer import ViewSettings

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

    def look(served, **options):
        page = Page(chromium, served, **options)
        pages.append(page)
        page.wait_for("texvlm.picture")
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
    page.wait_for("texvlm.picture.mode === 'frame'")
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
    page.page.check("#policy")
    page.wait_until(lambda: served.viewer.session.follows_policy)


def test_a_picture_is_saved_without_loss(serve, look, tmp_path):
    served = serve(times=[0.0])
    page = look(served)
    page.page.check("input[value=frame]")
    page.wait_for("texvlm.picture.mode === 'frame'")
    with page.page.expect_download() as download:
        page.page.click("#save")
    assert download.value.suggested_filename.endswith("-frame.png")
    download.value.save_as(tmp_path / "saved.png")
    saved = np.asarray(Image.open(tmp_path / "saved.png"))
    assert (saved[:100] == pixels(0, SIZE)[:100]).all()


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
    page.wait_for(f"document.getElementById('picture').width < {width}")
    page.page.mouse.move(*page.point(0.4, 0.4))
    page.wait_until(lambda: near(page.served.fixation, (0.4, 0.4), 0.02))


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
    for _ in range(14):
        reached.append(page("document.activeElement.id || document.activeElement.name"))
        page.page.keyboard.press("Tab")
    order = [
        "picture",
        "mode",
        "pause",
        "step",
        "save",
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
