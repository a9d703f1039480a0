"""Token tables made on the device, from fixations that live there and never visit the host.

What does not depend on the fixations (checks, templates, focal lengths) is worked out on the host,
once for a layout and the frame sizes of its views, and stays on the device; a call is one launch.

Rows equal `layout.plan` on the host for the same fixations, bit for bit; the sunflower's places may
differ in the last bits of a float, as mathematical functions do. A kernel cannot raise: a view
with a fixation that is not finite gets padding rows only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends.cuda.api import Driver, Stream
from texvlm.backends.cuda.kernels import Definitions, Kernels
from texvlm.backends.cuda.launch import Launch, use_on_current_stream
from texvlm.backends.cuda.quadtree import prepare_quadtree
from texvlm.backends.cuda.upload import Upload
from texvlm.layouts import Focus, Layout, Quadtree, Sunflower
from texvlm.layouts.sunflower import RADII
from texvlm.layouts.table import TABLE_FIELDS
from texvlm.layouts.template import RigidLayout, Template
from texvlm.visual_field import VisualField

THREADS = 128
KEPT_PLACEMENTS = 32
"""Sets of views whose templates are kept, the least recently used given up first."""

TEMPLATE_ROW = np.dtype([("offset", "<f8", (2,)), ("side", "<f8"), ("anchor", "<i4"), ("region", "<i4")])
"""TemplateRow of cuda/place_tokens.cu."""

TEMPLATE_VIEW = np.dtype(
    [("rows", "<u8"), ("margin", "<f8"), ("row_count", "<i4"), ("size", "<i4", (2,)), ("layer", "<i4")]
)
"""TemplateView of cuda/place_tokens.cu."""

PLACE_ARGUMENTS = np.dtype(
    [
        *((name, "<u8") for name in ("views", "fixations", "rows")),
        *((name, "<i4") for name in ("fixation_count", "is_double", "tokens", "unused")),
    ]
)
"""PlaceTokensArguments of cuda/place_tokens.cu."""

SUNFLOWER_VIEW = np.dtype([("focal", "<f8"), ("size", "<i4", (2,)), ("layer", "<i4"), ("unused", "<i4")])
"""SunflowerView of cuda/place_sunflower.cu."""

SUNFLOWER_ARGUMENTS = np.dtype(
    [
        *((name, "<u8") for name in ("views", "fixations", "rows")),
        ("e2_deg", "<f8"),
        ("is_double", "<i4"),
        ("tokens", "<i4"),
    ]
)
"""PlaceSunflowerArguments of cuda/place_sunflower.cu."""

_PLACE: Definitions = (("TEXVLM_THREADS", THREADS),)
_SUNFLOWER: Definitions = (("TEXVLM_THREADS", THREADS), ("TEXVLM_RADII", RADII))


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """What a layout needs of its views, on the device.

    Attributes:
        layout: which layout.
        views: one record a view, uint8.
        view_count: how many.
        tokens: rows of each view's table.
        templates: what the views' records point to, kept alive here.
    """

    layout: Layout
    views: torch.Tensor
    view_count: int
    tokens: int
    templates: tuple[torch.Tensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Launches that write token tables.

    Attributes:
        rows: bits of TOKEN_RECORD, int32, (views, tokens, 6), on the device.
        launches: in order.
    """

    rows: torch.Tensor
    launches: tuple[Launch, ...]


class Planner:
    """Plans token tables on one device."""

    def __init__(self, driver: Driver, kernels: Kernels) -> None:
        self._driver = driver
        self._kernels = kernels
        self._upload = Upload(driver)
        self._placements: OrderedDict[tuple[object, ...], Placement] = OrderedDict()

    def plan(
        self,
        layout: Layout,
        sizes: Sequence[tuple[int, int]],
        layers: Sequence[int],
        fixations: torch.Tensor,
        weights: NDArray[np.float64] | None = None,
        *,
        stream: Stream,
    ) -> torch.Tensor:
        """Queue the planning of one table a view.

        Args:
            layout: where tokens lie.
            sizes: (width, height) of each view's frame.
            layers: layer of each view.
            fixations: (u, v) on the device, the frame spanning 0..1, float64 or taken as float32, (views, k, 2).
            weights: importance of each fixation, (k,) or (views, k), for the quadtree; None for equal ones.
            stream: torch's current one.
        Returns:
            Bits of TOKEN_RECORD, int32, (views, tokens, 6); tables of fewer rows end in padding.
        Raises:
            ValueError: as `layout.plan` does, or shapes that do not fit together.
            TypeError: a layout that only the host can plan.
        """
        plan = self.prepare(layout, sizes, layers, fixations, weights, stream=stream)
        for launch in plan.launches:
            launch.run(stream)
        return plan.rows

    def prepare(
        self,
        layout: Layout,
        sizes: Sequence[tuple[int, int]],
        layers: Sequence[int],
        fixations: torch.Tensor,
        weights: NDArray[np.float64] | None = None,
        *,
        stream: Stream,
    ) -> Plan:
        """The launches of `plan`, and where they write; arguments and errors as there.

        Their records have a field `fixations`: where the fixations of the launch's first view lie.
        """
        if fixations.ndim != 3 or fixations.shape[2] != 2 or len(fixations) != len(sizes) or len(layers) != len(sizes):
            raise ValueError(
                f"fixations of shape {tuple(fixations.shape)}, {len(layers)} layers and {len(sizes)} frame sizes; "
                "fixations are (views, k, 2), with a layer and a size a view"
            )
        if isinstance(layout, Quadtree):
            tree = prepare_quadtree(self._driver, self._kernels, layout, sizes, layers, fixations, weights)
            return Plan(tree.rows, tree.launches)
        if fixations.dtype != torch.float64:
            fixations = fixations.to(torch.float32)
        fixations = fixations.contiguous()
        placement = self._placement(layout, sizes, layers, int(fixations.shape[1]), stream=stream)
        shape = (placement.view_count, placement.tokens, len(TABLE_FIELDS))
        rows = torch.empty(shape, dtype=torch.int32, device=self._driver.device)
        return Plan(rows, (self._launch(placement, fixations, rows),))

    def _placement(
        self,
        layout: Layout,
        sizes: Sequence[tuple[int, int]],
        layers: Sequence[int],
        fixation_count: int,
        *,
        stream: Stream,
    ) -> Placement:
        """What a layout needs of these views; made and sent with the first call for them.

        Launches hold on to it, also when it is given up here because others are used.
        """
        key = (layout, tuple(sizes), tuple(layers), fixation_count)
        found = self._placements.get(key)
        if found is None:
            found = self._place_views(layout, sizes, layers, fixation_count, stream)
            self._placements[key] = found
            if len(self._placements) > KEPT_PLACEMENTS:
                _, dropped = self._placements.popitem(last=False)
                use_on_current_stream(dropped.views, *dropped.templates)  # which comes after all others
        self._placements.move_to_end(key)
        return found

    def _launch(self, placement: Placement, fixations: torch.Tensor, rows: torch.Tensor) -> Launch:
        """The launch for contiguous tensors on the device; nothing is queued."""
        layout = placement.layout
        if isinstance(layout, Sunflower):
            arguments = np.zeros(1, SUNFLOWER_ARGUMENTS)
            arguments["e2_deg"] = layout.e2_deg
            kernel = self._kernels.get("place_sunflower.cu", _SUNFLOWER, SUNFLOWER_ARGUMENTS)
            grid = (placement.view_count, 1, 1)
        else:
            arguments = np.zeros(1, PLACE_ARGUMENTS)
            arguments["fixation_count"] = fixations.shape[1]
            kernel = self._kernels.get("place_tokens.cu", _PLACE, PLACE_ARGUMENTS)
            grid = (-(-placement.tokens // THREADS), placement.view_count, 1)
        arguments["views"], arguments["tokens"] = placement.views.data_ptr(), placement.tokens
        arguments["is_double"] = fixations.dtype == torch.float64
        arguments["fixations"], arguments["rows"] = fixations.data_ptr(), rows.data_ptr()
        memory = (placement.views, *placement.templates, fixations, rows)
        return Launch(kernel, grid, (THREADS, 1, 1), arguments, memory)

    def close(self) -> None:
        """Free what is kept. May be called twice."""
        self._placements.clear()
        self._upload.close()

    def _place_views(
        self,
        layout: Layout,
        sizes: Sequence[tuple[int, int]],
        layers: Sequence[int],
        fixation_count: int,
        stream: Stream,
    ) -> Placement:
        """Records of the views, and the templates that they point to, on the device."""
        templates: tuple[torch.Tensor, ...] = ()
        if isinstance(layout, RigidLayout):
            views, templates = self._template_views(layout, sizes, stream)
        elif isinstance(layout, Sunflower):
            views = np.zeros(len(sizes), SUNFLOWER_VIEW)
            views["focal"] = [VisualField(size, layout.fov_deg).focal_texels for size in sizes]
        else:
            raise TypeError(f"{layout} plans on the host; give fixations as an array, or use another layout")
        anywhere = Focus(np.zeros((fixation_count, 2)))
        tokens = max(len(layout.plan(size, anywhere)) for size in sizes)  # refuses what the host refuses
        views["size"], views["layer"] = sizes, layers
        return Placement(layout, self._upload.send(views, stream), len(sizes), tokens, templates)

    def _template_views(
        self, layout: RigidLayout, sizes: Sequence[tuple[int, int]], stream: Stream
    ) -> tuple[np.ndarray[Any, Any], tuple[torch.Tensor, ...]]:
        """A record a view, and one template on the device for each frame size."""
        made: dict[tuple[int, int], tuple[Template, torch.Tensor]] = {}
        views = np.zeros(len(sizes), TEMPLATE_VIEW)
        for view, size in zip(views, sizes, strict=True):
            if size not in made:
                template = layout.template(size)
                made[size] = template, self._upload.send(_template_rows(template), stream)
            template, rows = made[size]
            view["rows"], view["row_count"] = rows.data_ptr(), len(template.side)
            view["margin"] = np.nan if template.margin is None else template.margin
        return views, tuple(rows for _, rows in made.values())


def variants() -> list[tuple[str, Definitions, np.dtype[Any]]]:
    """(file, definitions, argument record) of each kernel used here."""
    return [("place_tokens.cu", _PLACE, PLACE_ARGUMENTS), ("place_sunflower.cu", _SUNFLOWER, SUNFLOWER_ARGUMENTS)]


def _template_rows(template: Template) -> np.ndarray[Any, Any]:
    """The rows of a template as a kernel reads them, TEMPLATE_ROW."""
    rows = np.zeros(len(template.side), TEMPLATE_ROW)
    rows["offset"], rows["side"] = template.offset, template.side
    rows["anchor"], rows["region"] = template.anchor, template.region
    return rows
