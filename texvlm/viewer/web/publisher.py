"""Draws and encodes pictures on a thread of its own, for whoever can take one."""

from __future__ import annotations

import threading
from typing import Any

from texvlm.profiling import profile_range
from texvlm.viewer.meter import StageMedians
from texvlm.viewer.web.clients import Clients, Job
from texvlm.viewer.web.messages import write_packet
from texvlm.viewer.web.pictures import draw_snapshot, jpeg_bytes


class Publisher:
    """Owns the thread that turns snapshots into packets, until `close`.

    Args:
        clients: whom to give them to.

    Attributes:
        error: what ended the thread before its time; None while all is well.
        stages_ms: median milliseconds of late to draw and to encode a picture.
        encoded: pictures made so far; fewer than delivered where clients look alike.
    """

    def __init__(self, clients: Clients) -> None:
        self.error: Exception | None = None
        self.stages_ms: dict[str, float] = {}
        self.encoded = 0
        self._clients = clients
        self._stages = StageMedians()
        self._thread = threading.Thread(target=self._run, name="texvlm view --web pictures", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for the picture under way. The clients must be closed before."""
        self._thread.join()

    def _run(self) -> None:
        try:
            while (job := self._clients.next_job()) is not None:
                header, picture = self._make(job)
                for client, fields in job.clients:
                    client.deliver(write_packet(header | fields, picture))
        except Exception as error:  # handed over: a thread must not swallow it
            self.error = error

    def _make(self, job: Job) -> tuple[dict[str, Any], bytes]:
        """What all clients of a job are told, and the picture."""
        header: dict[str, Any] = {} if job.state is None else {"state": job.state}
        if job.snapshot is None:
            return header, b""
        with self._stages.stage("draw"), profile_range("draw", "preview"):
            image, places = draw_snapshot(job.snapshot, job.mode, job.box)
        with self._stages.stage("jpeg"), profile_range("jpeg", "preview"):
            picture = jpeg_bytes(image)
        self.stages_ms = self._stages.median_ms
        self.encoded += 1
        shown = job.snapshot.shown
        header["picture"] = {
            "number": shown.number,
            "frame": shown.frame,
            "time_s": shown.time_s,
            "mode": job.mode,
            "box": job.box,
            "size": [image.shape[1], image.shape[0]],
            "places": [[place.x, place.y, place.width, place.height] for place in places],
            "fixations": shown.fixations.tolist(),
            "why": shown.why,
        }
        return header, picture
