"""A surface without a window, for tests of what the native viewer draws."""

from __future__ import annotations

import pytest
from required import unavailable

from texvlm.errors import BackendUnavailable


@pytest.fixture(scope="module")
def surface(request):
    """Of the module's SIZE."""
    from texvlm.viewer.native.offscreen import OffscreenSurface

    try:
        surface = OffscreenSurface(request.module.SIZE)
    except BackendUnavailable as refusal:
        unavailable("gl", str(refusal))
    yield surface
    assert not surface.gl.pending_errors()
    surface.close()
    surface.close()
