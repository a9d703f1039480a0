"""The books of the emulated device: which objects exist, what was called, what was misused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar, cast

from texvlm.errors import DeviceCallError

T = TypeVar("T")

QUERIES = frozenset({"current_stream", "is_capturing", "memory", "is_pinned"})
"""Calls that change nothing: not recorded."""

ALLOCATIONS = frozenset({"allocate_pinned", "create_array"})
"""Calls that fail with MemoryError."""

ENDINGS = frozenset(
    {"free_pinned", "close"}
    | {f"destroy_{kind}" for kind in ("array", "texture_object", "surface_object", "stream", "event", "graph")}
    | {"destroy_executable", "unload_program", "unregister_gl_image", "unmap_gl", "end_capture"}
)
"""Calls that do their work before they fail on demand, as a device does that reports an earlier error."""


@dataclass(slots=True)
class Entry:
    """One object: what it is, who made it, and whether it still exists."""

    kind: str
    value: Any
    owned: bool
    alive: bool = True


class Account:
    """Objects by handle, calls in order, rules that were broken."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.violations: list[str] = []
        self._objects: dict[int, Entry] = {}
        self._handles = count(0x1000)
        self._failures: dict[str, list[int]] = defaultdict(list)
        self.call = "no call"  # the one under way, for messages

    # ------------------------------------------------------------------ calls

    def fail(self, name: str, nth: int) -> None:
        """Let the nth next call of this name fail."""
        self._failures[name].append(nth)

    def relent(self) -> None:
        """Let nothing fail any more that `fail` asked for."""
        self._failures.clear()

    def perform(self, name: str, arguments: tuple[Any, ...], work: Callable[[], T]) -> T:
        """Run one call of the driver, or let it fail."""
        outer, self.call = self.call, name
        try:
            if name not in QUERIES:
                self.calls.append((name, arguments))
            failing = self._counts_down(name)
            if failing and name not in ENDINGS:
                raise self._failure(name)
            result = work()
            if failing:
                if name == "end_capture":  # the capture is over, and what fails gives no graph
                    self.expire(cast(int, result))
                raise self._failure(name)
            return result
        finally:
            self.call = outer

    def _counts_down(self, name: str) -> bool:
        left = [n - 1 for n in self._failures[name]]
        self._failures[name] = [n for n in left if n > 0]
        return 0 in left

    def _failure(self, name: str) -> Exception:
        message = f"{name}: failure asked for by a test"
        return MemoryError(message) if name in ALLOCATIONS else DeviceCallError(message)

    def misuse(self, message: str) -> DeviceCallError:
        """The error for a broken rule; remembered, in case somebody swallows it."""
        said = f"{self.call}: {message}"
        self.violations.append(said)
        return DeviceCallError(said)

    # ------------------------------------------------------------------ objects

    def add(self, kind: str, value: object, *, owned: bool = True, handle: int | None = None) -> int:
        """A handle for a new object; not owned: it goes with another one."""
        handle = next(self._handles) if handle is None else handle
        self._objects[handle] = Entry(kind, value, owned)
        return handle

    def get(self, handle: int, kind: str) -> Any:
        """What a handle stands for. DeviceCallError when it is of another kind or gone."""
        entry = self._objects.get(handle)
        if entry is None or entry.kind != kind:
            seen = "unknown" if entry is None else f"a {entry.kind}"
            raise self.misuse(f"{handle:#x} is {seen}; a {kind} is needed")
        if not entry.alive:
            raise self.misuse(f"{kind} {handle:#x} does not exist any more")
        return entry.value

    def remove(self, handle: int, kind: str) -> Any:
        """End an object. DeviceCallError when it is of another kind, gone already, or not to be ended by itself."""
        value = self.get(handle, kind)
        if not self._objects[handle].owned:
            raise self.misuse(f"{kind} {handle:#x} belongs to another object and goes with it")
        self._objects[handle].alive = False
        return value

    def expire(self, handle: int) -> None:
        """End an object that goes with another one."""
        self._objects[handle].alive = False

    def alive(self, kind: str) -> dict[int, Any]:
        """Objects of one kind that exist, by handle."""
        return {h: e.value for h, e in self._objects.items() if e.alive and e.kind == kind}

    def leaks(self) -> list[str]:
        """Objects that somebody made and did not destroy."""
        return [f"{e.kind} {h:#x}" for h, e in self._objects.items() if e.alive and e.owned]
