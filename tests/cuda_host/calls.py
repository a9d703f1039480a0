"""What surrounds every call of HostDriver: the books, and what a device refuses."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

NOT_WHILE_CAPTURING = frozenset(
    {"allocate_pinned", "free_pinned", "create_array", "destroy_array", "load_program", "unload_program"}
    | {"synchronize", "is_done", "wait_on_host", "elapsed_ms"}
    | {"register_gl_image", "unregister_gl_image", "map_gl", "unmap_gl"}
)
"""Calls that a device refuses to a thread that is capturing (CUDA Graphs, "Prohibited and Unhandled Operations")."""


def device_call(method: F) -> F:
    """Enter a call of a HostDriver in its account, and refuse it where a device would."""
    name = method.__name__

    @wraps(method)
    def perform(self: Any, *arguments: Any, **named: Any) -> Any:
        def work() -> Any:
            if self.closed:
                raise self.account.misuse("the driver is closed")
            if name in NOT_WHILE_CAPTURING and self.captures_here():
                raise self.account.misuse("code 900: not permitted while this thread is capturing")
            return method(self, *arguments, **named)

        return self.account.perform(name, (*arguments, *named.values()), work)

    return perform  # type: ignore[return-value]
