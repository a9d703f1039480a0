"""The browser viewer at 720p: rates and latencies with pages that look, and what they cost the engine.

    pip install "texvlm[web,web-test]"
    python benchmarks/viewer_web.py [--seconds 10] [--chromium PATH]

Runs of the procedural scene at 30 frames a second: nobody looks; a page; three clients, of which one reads nothing
and the others are two pages, or a page and one that reads slowly; and three pages in modes of their own. In the
first page the pointer moves twelve times a second, and the page measures how long each move takes to be drawn.
Server, engine, browser and its software rasteriser share the machine's cores. Writes results/viewer-web.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import BrowserContext, Page, sync_playwright
from websockets.sync.client import ClientConnection, connect

from texvlm.bench.machine import probe_machine, source_commit
from texvlm.viewer import ViewSettings
from texvlm.viewer.web.messages import read_packet
from texvlm.viewer.web.opening import open_web

HERE = Path(__file__).parent
SCENE = "scene:1280x720"
WARM_UP_S = 4.0
MOVES_PER_S = 12
SLOW_S = 0.5
"""A slow client acknowledges a packet after so long."""


class Viewer:
    """Played on a thread of its own, as the program plays it on its first."""

    def __init__(self, backend: str) -> None:
        self.stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(backend,))
        self._thread.start()
        self._ready.wait()

    def _run(self, backend: str) -> None:
        settings = ViewSettings(SCENE, backend=backend)
        with open_web(settings, port=0, stop=self.stop.is_set) as (self.viewer, self.server):
            self._ready.set()
            self.viewer.run()

    def numbers(self) -> dict[str, float]:
        """Counters since the beginning."""
        statistics, traffic = self.viewer.session.statistics(), self.viewer.clients.traffic()
        return {
            "frames": statistics.frames,
            "dropped": statistics.dropped,
            "copies": self.viewer.copies,
            "encoded": self.viewer.publisher.encoded,
            "delivered": traffic.pictures,
            "skipped": traffic.skipped,
        }

    def close(self) -> None:
        """End it."""
        self.stop.set()
        self._thread.join()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    arguments = parser.parse_args()
    runs: dict[str, Any] = {}
    load = os.getloadavg()[0]  # what others were doing
    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=flags)
        for name, modes, sockets in (
            ("nobody looks", [], []),
            ("one page", ["tokens"], []),
            ("two pages, one silent", ["tokens", "tokens"], ["silent"]),
            ("one page, one slow, one silent", ["tokens"], ["slow", "silent"]),
            ("three pages", ["both", "frame", "tokens"], []),
        ):
            with closing(Viewer(arguments.backend)) as viewer:
                context = browser.new_context(viewport={"width": 1280, "height": 1060})
                pages = [open_page(context, viewer, mode) for mode in modes]
                runs[name] = measure(viewer, pages, sockets, arguments.seconds)
                print(name, json.dumps(runs[name]))
                context.close()
        version = browser.version
        browser.close()
    report = {
        "machine": probe_machine().model_dump(),
        "commit": source_commit(),
        "date": time.strftime("%Y-%m-%d"),
        "command": f"python benchmarks/viewer_web.py --seconds {arguments.seconds:g} --backend {arguments.backend}",
        "chromium": version,
        "input": SCENE,
        "load_before": round(load, 1),
        "runs": runs,
    }
    path = HERE / "results" / "viewer-web.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {path}")


def open_page(context: BrowserContext, viewer: Viewer, mode: str) -> Page:
    """A page that shows one mode."""
    page = context.new_page()
    page.goto(viewer.server.url)
    page.check(f"input[value={mode}]")
    while not page.evaluate("texvlm.picture && texvlm.picture.mode === texvlm.mode"):
        page.wait_for_timeout(20)
    return page


def measure(viewer: Viewer, pages: list[Page], sockets: list[str], seconds: float) -> dict[str, Any]:
    """One run: rates of the engine and of each page, and latencies of the first page's moves."""
    ending = threading.Event()
    connected = [connect(viewer.server.url.replace("http", "ws") + "socket", max_size=None) for _ in sockets]
    opened = [connection.__enter__() for connection in connected]
    slow = [socket for kind, socket in zip(sockets, opened, strict=True) if kind == "slow"]
    readers = [threading.Thread(target=read_slowly, args=(socket, ending)) for socket in slow]
    for reader in readers:
        reader.start()
    wait(pages, WARM_UP_S)
    for page in pages:
        page.evaluate("texvlm.meter.latencies_ms.length = 0")
    before, drawn = viewer.numbers(), [page.evaluate("texvlm.meter.pictures") for page in pages]
    start = time.perf_counter()
    if pages:
        pages[0].bring_to_front()
        box = pages[0].locator("#picture").bounding_box()
        assert box is not None, "there is a picture"
    while (elapsed := time.perf_counter() - start) < seconds:
        if pages:
            x, y = 0.05 + 0.4 * (elapsed % 4) / 4, 0.2 + 0.6 * (elapsed % 3) / 3
            pages[0].mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        wait(pages, 1 / MOVES_PER_S)
    took, after = time.perf_counter() - start, viewer.numbers()
    stages = viewer.viewer.session.statistics().stages_ms | viewer.viewer.publisher.stages_ms
    found: dict[str, Any] = {name: after[name] - before[name] for name in before}
    found["seconds"] = round(took, 2)
    found["engine_frames_per_s"] = round(found["frames"] / took, 2)
    found["stages_ms"] = {name: round(ms, 3) for name, ms in stages.items()}
    found["packets_of_each_client"] = [client.packets for client in viewer.viewer.clients._clients.values()]
    if pages:
        counts = [page.evaluate("texvlm.meter.pictures") for page in pages]
        found["page_pictures_per_s"] = [round((now - then) / took, 2) for now, then in zip(counts, drawn, strict=True)]
        found["page_picture_sizes"] = [page.evaluate("texvlm.picture.size") for page in pages]
        latencies = np.array(pages[0].evaluate("texvlm.meter.latencies_ms"))
        found["moves_timed"] = len(latencies)
        found["move_to_picture_ms"] = {
            f"p{share}": round(float(np.percentile(latencies, share)), 1) for share in (50, 90, 99)
        }
    ending.set()
    for reader in readers:
        reader.join()
    for connection in connected:
        connection.__exit__(None, None, None)
    return found


def read_slowly(socket: ClientConnection, ending: threading.Event) -> None:
    """A client that takes its time over each packet."""
    while not ending.wait(SLOW_S):
        header, _ = read_packet(socket.recv())
        socket.send(json.dumps({"ack": header["packet"]}))


def wait(pages: list[Page], seconds: float) -> None:
    """Sleep; the driver of pages needs its thread."""
    if pages:
        pages[0].wait_for_timeout(1e3 * seconds)
    else:
        time.sleep(seconds)


if __name__ == "__main__":
    main()
