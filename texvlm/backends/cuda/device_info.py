"""What a GPU is, asked of the runtime."""

from __future__ import annotations

from texvlm.backends.cuda.api import DeviceInfo
from texvlm.backends.cuda.bindings import Bindings


def read_info(bindings: Bindings, ordinal: int) -> DeviceInfo:
    """Facts about one device. Makes no context on it."""
    properties = bindings.check("cudaGetDeviceProperties", bindings.runtime.cudaGetDeviceProperties(ordinal))
    sides = (
        f"Max{kind}{side}"
        for kind in ("Texture2DLayered", "Surface2DLayered", "Texture2DMipmapped")
        for side in ("Width", "Height")
    )
    layers = ("MaxTexture2DLayeredLayers", "MaxSurface2DLayeredLayers")
    major, minor = compute_capability(bindings, ordinal)
    return DeviceInfo(
        name=properties.name.decode(errors="replace").rstrip("\0"),
        architecture=f"sm_{major}{minor}",
        driver=version_words(driver_version(bindings)),
        memory_bytes=int(properties.totalGlobalMem),
        multiprocessors=_attribute(bindings, ordinal, "MultiProcessorCount"),
        l2_bytes=_attribute(bindings, ordinal, "L2CacheSize"),
        max_side=min(_attribute(bindings, ordinal, name) for name in sides),
        max_layers=min(_attribute(bindings, ordinal, name) for name in layers),
    )


def compute_capability(bindings: Bindings, ordinal: int) -> tuple[int, int]:
    """(major, minor), such as (9, 0)."""
    major = _attribute(bindings, ordinal, "ComputeCapabilityMajor")
    return major, _attribute(bindings, ordinal, "ComputeCapabilityMinor")


def driver_version(bindings: Bindings) -> int:
    """Newest CUDA that the driver supports, such as 13000; 0 where there is no driver."""
    return int(bindings.check("cudaDriverGetVersion", bindings.runtime.cudaDriverGetVersion()))


def version_words(version: int) -> str:
    """13050 -> "13.5"."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _attribute(bindings: Bindings, ordinal: int, name: str) -> int:
    runtime = bindings.runtime
    attribute = getattr(runtime.cudaDeviceAttr, f"cudaDevAttr{name}")
    return int(bindings.check("cudaDeviceGetAttribute", runtime.cudaDeviceGetAttribute(attribute, ordinal)))
