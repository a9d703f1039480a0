"""The immersive session, on a WebXR runtime that needs no headset: rays move the fixation on the server."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image
from viewer.web.browsers import Page, chromium, iwer_script  # noqa: F401 - a fixture
from viewer.web.web_rig import serve_film

from texvlm.viewer import ViewSettings

pytestmark = pytest.mark.browser
SIZE = (640, 320)
WIDTH_M, DISTANCE_M = 2.4, 2.0
RUNTIME = """
const features = [...IWER.metaQuest3.supportedFeatures, ...(EYES ? ['eye-tracking'] : [])];
window.device = new IWER.XRDevice({ ...IWER.metaQuest3, supportedFeatures: features });
device.installRuntime({ forceInstall: true });
device.stereoEnabled = true;
device.position.set(0, 1.6, 0);
"""


@pytest.fixture
def enter(monkeypatch, chromium):  # noqa: F811
    """A page in an immersive session."""
    opened = []

    def enter(*, eyes):
        runtime = RUNTIME.replace("EYES", "true" if eyes else "false")
        scripts = [{"path": str(iwer_script())}, {"script": runtime}]
        settings = ViewSettings("film", backend="cpu", tokens=100, patch=8)
        served = serve_film(monkeypatch, size=SIZE, settings=settings)
        opened.append(served)
        page = Page(chromium, served, scripts=scripts)
        opened.append(page)
        page.settled()
        page.wait_for("!document.getElementById('xr').disabled")
        page.page.click("#xr")
        page.wait_for("texvlm.xr.frames > 2")
        return page

    yield enter
    for thing in reversed(opened):
        thing.close()


def turn(page, name, *, right_rad=0.0, up_rad=0.0):
    """Turn a part of the device: a rotation about y, or about x."""
    assert right_rad == 0 or up_rad == 0
    y, x = math.sin(-right_rad / 2), math.sin(up_rad / 2)
    w = math.cos((right_rad or up_rad) / 2)
    page(f"device.{name}.quaternion.set({x}, {y}, 0, {w})")


def expected(*, right_rad=0.0, up_rad=0.0):
    """(u, v) on the screen, by trigonometry."""
    height = WIDTH_M * SIZE[1] / SIZE[0]
    return 0.5 + DISTANCE_M * math.tan(right_rad) / WIDTH_M, 0.5 - DISTANCE_M * math.tan(up_rad) / height


def arrives(page, place, within=0.01):
    def there():
        found = page.served.fixation
        return found is not None and max(abs(a - b) for a, b in zip(found, place, strict=True)) < within

    page.wait_until(there)


def test_eyes_move_the_fixation_and_tokens_are_drawn_around_it(enter):
    page = enter(eyes=True)
    assert page("texvlm.xr.source") == "gaze"
    arrives(page, (0.5, 0.5))
    for look in ({"right_rad": 0.2}, {"right_rad": -0.3}, {"up_rad": 0.1}):
        turn(page, "gaze", **look)
        arrives(page, expected(**look))
    page.wait_for(
        "texvlm.picture.mode === 'tokens' && texvlm.picture.why === 'pointer'"
        " && Math.abs(texvlm.picture.fixations[0][1] - texvlm.xr.hit[1]) < 0.001"
    )
    assert not page.errors
    print("eyes to picture, ms:", page("texvlm.meter.latencies_ms"))


def test_both_eyes_see_the_picture(enter):
    page = enter(eyes=True)
    page.settled()
    drawn = page("texvlm.xr.uploads")
    page.wait_for(f"texvlm.xr.uploads >= {drawn + 3}")
    shot = np.asarray(Image.open(io.BytesIO(page.page.screenshot())).convert("RGB")).astype(int)
    middle = shot.shape[0] // 2
    for half in np.split(shot[:, : shot.shape[1] // 2 * 2], 2, axis=1):
        inside = half[middle - 20 : middle + 20, half.shape[1] // 2 - 60 : half.shape[1] // 2 + 60]
        assert inside.std() > 15  # squares and film
        assert half[:40].max() < 30  # the room is dark


def test_a_hand_points_where_there_are_no_eyes_to_follow(enter):
    page = enter(eyes=False)
    page("device.controllers.left.connected = false")
    page("device.controllers.right.position.set(0, 1.6, 0)")
    turn(page, "controllers.right", right_rad=0.25)
    page.wait_for("texvlm.xr.source === 'tracked-pointer'")
    arrives(page, expected(right_rad=0.25))


def test_the_head_points_where_there_is_nothing_else_and_away_from_the_screen_nothing_moves(enter):
    page = enter(eyes=False)
    page("device.controllers.left.connected = device.controllers.right.connected = false")
    page.wait_for("texvlm.xr.source === 'head'")
    page("device.quaternion.set(0, Math.sin(-0.05), 0, Math.cos(-0.05))")
    arrives(page, expected(right_rad=0.1))
    page("device.quaternion.set(0, 1, 0, 0)")  # turned round
    page.wait_for("texvlm.xr.hit === null")
    arrives(page, expected(right_rad=0.1))


def test_leaving_gives_the_page_back(enter):
    page = enter(eyes=True)
    assert page("texvlm.mode") == "tokens"
    page("texvlm.xr.toggle()")
    page.wait_for("texvlm.mode === 'both' && document.getElementById('xr').textContent === 'Enter VR'")
    page.pictures(3)
    page.page.click("#xr")
    page.wait_for("texvlm.xr.session && texvlm.xr.frames > 2 && texvlm.xr.uploads > 0")
    assert not page.errors


def test_of_several_rays_the_one_nearest_to_the_eyes_counts(enter):
    page = enter(eyes=True)
    kinds = "['tracked-pointer', 'screen', 'transient-pointer', 'gaze']"
    chosen = page(
        f"""import(new URL('page/xr.js', location.href)).then(({{ chooseSource }}) => {kinds}.map((_, k) =>
        chooseSource({kinds}.slice(0, k + 1).map((targetRayMode) => ({{ targetRayMode }})))?.targetRayMode))"""
    )
    assert chosen == ["tracked-pointer", "tracked-pointer", "transient-pointer", "gaze"]
    assert page("import(new URL('page/xr.js', location.href)).then(({ chooseSource }) => chooseSource([]))") is None
