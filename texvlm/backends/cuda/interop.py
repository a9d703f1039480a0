"""OpenGL textures that CUDA may use, and whose turn it is: the one state machine of every mapping.

While a texture is mapped it is CUDA's, and OpenGL must not touch it; while it is not, CUDA must not.
Breaking that is undefined and often seems to work, so nothing here trusts a caller: every call checks
whose turn it is and refuses by name.

    register -> REGISTERED --map--> MAPPED --unmap--> REGISTERED -> unregister -> CLOSED
                    |                 |                    ^
                    +------lend-------+-----> LENT --------+   (and mapped again when the loan ends)

Interop calls must come from the thread on which the OpenGL context is current, so all of them go through
`GlContext.run`: handed over to the thread of a headless context, refused on a wrong one of an
application's. Mapping is ordered on a stream: earlier OpenGL work comes before what is queued there
afterwards, and unmapping the other way round. Nothing waits on the host.

A call that ends something counts as done even when it reports an error: on a device that is often the
error of earlier work, and ending things twice would be a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from texvlm.backends._gl_context import GlContext
from texvlm.backends.cuda.api import Driver, GlAccess, Stream
from texvlm.errors import ClosedError, DeviceCallError
from texvlm.profiling import profile_range

T = TypeVar("T")


class MappingState(Enum):
    """Whose turn it is; the value says it in words, and what to do for the other side's turn."""

    REGISTERED = "unmapped, so it is OpenGL's; map it first"
    MAPPED = "mapped, so it is CUDA's; unmap it first"
    LENT = "lent to OpenGL; leave the scope of lent_to_gl() first"
    CLOSED = "closed; make it anew"


@dataclass(slots=True, eq=False)
class GlImage:
    """One registered texture.

    Attributes:
        name: OpenGL's.
        resource: CUDA's handle of it.
        state: whose turn it is.
    """

    name: int
    resource: int
    state: MappingState = MappingState.REGISTERED

    def require(self, call: str, *accepted: MappingState) -> None:
        """Refuse a call that is out of turn.

        Raises:
            ClosedError: it was unregistered.
            DeviceCallError: any other state than those accepted; names the call, the state and what to do.
        """
        if self.state not in accepted:
            kind = ClosedError if self.state is MappingState.CLOSED else DeviceCallError
            raise kind(f"{call}: texture {self.name} is {self.state.value}")


class Interop:
    """CUDA's calls on the textures of one OpenGL context.

    Attributes:
        context: where they belong.
        maps: calls of `map` so far, however many textures each took.
    """

    def __init__(self, driver: Driver, context: GlContext) -> None:
        self.context = context
        self.maps = 0
        self._driver = driver

    def run(self, work: Callable[[], T]) -> T:
        """Result of `work`, called where the context is current, with our device current there, too.

        Raises:
            DeviceCallError: a wrong thread, or another context is current.
        """

        def there() -> T:
            self._driver.current_stream()
            return work()

        return self.context.run(there)

    def register(self, name: int, target: int, access: GlAccess) -> GlImage:
        """Let CUDA use a texture from now on. Its storage must be complete and stay as it is."""
        return GlImage(name, self.run(lambda: self._driver.register_gl_image(name, target, access)))

    def map(self, images: Sequence[GlImage], stream: Stream) -> None:
        """Take textures from OpenGL, all in one call: its earlier work comes before later work on the stream.

        Raises:
            DeviceCallError: one of them is not REGISTERED, or the stream is being captured; nothing has changed.
        """
        for image in images:
            image.require("map", MappingState.REGISTERED)
        if self._driver.is_capturing(stream):
            raise DeviceCallError("map: the stream is being captured, and mapping cannot be; take tokens once before")
        with profile_range("map", "map", len(images)):
            self.run(lambda: self._driver.map_gl([image.resource for image in images], stream))
        self.maps += 1
        for image in images:
            image.state = MappingState.MAPPED

    def unmap(self, images: Sequence[GlImage], stream: Stream) -> None:
        """Give textures back, all in one call: earlier work on the stream comes before OpenGL's later work.

        Objects made of them must be gone.

        Raises:
            DeviceCallError: one of them is not MAPPED, or the stream is being captured; nothing has changed.
        """
        for image in images:
            image.require("unmap", MappingState.MAPPED)
        if self._driver.is_capturing(stream):
            raise DeviceCallError("unmap: the stream is being captured, and unmapping cannot be; end the capture first")

        def give() -> None:
            for image in images:
                image.state = MappingState.REGISTERED
            self._driver.unmap_gl([image.resource for image in images], stream)

        with profile_range("unmap", "map", len(images)):
            self.run(give)

    def unregister(self, image: GlImage) -> None:
        """End CUDA's use of a texture, before OpenGL deletes it. It must not be mapped."""
        image.require("unregister", MappingState.REGISTERED)

        def end() -> None:
            image.state = MappingState.CLOSED
            self._driver.unregister_gl_image(image.resource)

        self.run(end)
