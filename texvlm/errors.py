"""The error tree: what a caller can catch.

Bad arguments raise `ValueError` or `TypeError`. Everything else derives from `TexvlmError`.
Every message is one line: what was refused, the value seen, what is accepted or what to do.
"""

from __future__ import annotations


class TexvlmError(Exception):
    """Base of every error that is not a bad argument."""


class BackendUnavailable(TexvlmError):
    """No backend that was asked for can run here; names each one tried and why it was refused."""


class KernelBuildError(TexvlmError):
    """A shader or kernel did not compile; carries the compiler's log."""


class DeviceCallError(TexvlmError):
    """A graphics or compute call failed; names the call, the code and its likely cause."""


class ClosedError(TexvlmError):
    """An engine, backend or texture was used after `close`, or in a forked child."""


class BusyError(TexvlmError):
    """Two threads used one engine at the same time; an engine serves one call at a time."""


class SourceError(TexvlmError):
    """An input cannot be opened or read: missing, empty, damaged, or without a video stream."""


class StoreError(TexvlmError):
    """A token folder cannot be written, read or resumed."""


class ModelError(TexvlmError):
    """A model folder or model cannot be used."""


class LookError(TexvlmError):
    """A look policy failed, or gave a look that cannot be used; names the policy and the source."""


class FlowUnavailable(TexvlmError):
    """The library that a motion source needs is not installed; names the extra that brings it."""


class ViewerUnavailable(TexvlmError):
    """A viewer cannot be opened here: no display, no library for it, or it is taken; says the way out."""


class HeadsetUnavailable(TexvlmError):
    """No headset can be had: no binding, runtime, headset or graphics that it accepts; says the way out."""


class HeadsetLost(TexvlmError):
    """The headset's session or its runtime went away; open the headset anew."""
