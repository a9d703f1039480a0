"""The books of the emulated device: objects, order, failures on demand."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from cuda_host.account import ALLOCATIONS, ENDINGS, QUERIES
from cuda_host.calls import NOT_WHILE_CAPTURING
from cuda_host.driver import HostDriver
from texvlm.backends.cuda.api import Driver
from texvlm.errors import DeviceCallError


@pytest.fixture
def driver() -> HostDriver:
    return HostDriver()


def test_every_call_of_the_table_is_entered_in_the_books():
    calls = Driver.__abstractmethods__
    assert all(hasattr(getattr(HostDriver, name), "__wrapped__") for name in calls)
    assert calls >= ALLOCATIONS | ENDINGS | QUERIES | NOT_WHILE_CAPTURING


def test_what_is_not_destroyed_is_a_leak(driver):
    array = driver.create_array((32, 16), 2, 5, 4, "uint8")
    texture = driver.create_texture_object(array, 5, "uint8")
    surface = driver.create_surface_object(driver.level_of(array, 3))
    address = driver.allocate_pinned(100)
    assert driver.leaks() == [
        f"array {array:#x}",
        f"texture object {texture:#x}",
        f"surface object {surface:#x}",
        f"pinned memory {address:#x}",
    ]
    assert [name for name, _ in driver.calls] == [
        "create_array",
        "create_texture_object",
        "level_of",
        "create_surface_object",
        "allocate_pinned",
    ]
    driver.destroy_texture_object(texture)
    driver.destroy_surface_object(surface)
    driver.destroy_array(array)
    driver.free_pinned(address)
    assert driver.leaks() == driver.violations == []
    driver.close()
    with pytest.raises(DeviceCallError, match="closed"):
        driver.memory()


def test_closing_with_objects_alive_is_an_error(driver):
    driver.create_event()
    with pytest.raises(DeviceCallError, match="left behind: event"):
        driver.close()


@pytest.mark.parametrize(
    ("misuse", "said"),
    [
        (lambda d, array, texture: d.destroy_array(array), "1 objects over the array are alive"),
        (lambda d, array, texture: d.destroy_array(texture), "is a texture object; a array is needed"),
        (lambda d, array, texture: d.destroy_surface_object(texture), "is a texture object"),
        (lambda d, array, texture: d.destroy_array(12345), "unknown"),
        (lambda d, array, texture: d.level_of(array, 5), "level 5 of 5"),
        (lambda d, array, texture: d.create_texture_object(array, 6, "uint8"), "6 levels"),
        (lambda d, array, texture: d.create_texture_object(array, 5, "float32"), "of float32"),
        (lambda d, array, texture: d.create_array((16, 16), 1, 6, 4, "uint8"), r"6 levels \(at most 5\)"),
        (lambda d, array, texture: d.create_array((16, 16), 1, 5, 3, "uint8"), "3 channels"),
        (lambda d, array, texture: d.create_array((16, 0), 1, 1, 4, "uint8"), r"\(16, 0\)"),
        (lambda d, array, texture: d.destroy_stream(0), "belongs to another object"),
        (lambda d, array, texture: d.copy(0, 16, 4, 0), "from 0x10 to 0x0"),
        (lambda d, array, texture: d.load_program(b"/no/such/file"), "code 200"),
    ],
)
def test_misuse_is_an_error_and_remembered(driver, misuse, said):
    array = driver.create_array((16, 16), 1, 5, 4, "uint8")
    texture = driver.create_texture_object(array, 5, "uint8")
    with pytest.raises(DeviceCallError, match=said) as caught:
        misuse(driver, array, texture)
    assert driver.violations == [str(caught.value)]
    assert len(driver.leaks()) == 2  # nothing was done


def test_objects_end_once_and_levels_with_their_array(driver):
    array = driver.create_array((16, 16), 1, 5, 1, "float32")
    level = driver.level_of(array, 2)
    driver.destroy_array(array)
    with pytest.raises(DeviceCallError, match="does not exist any more"):
        driver.destroy_array(array)
    with pytest.raises(DeviceCallError, match="does not exist any more"):
        driver.create_surface_object(level)


def test_floats_are_not_normalised(driver):
    level = driver.level_of(driver.create_array((16, 16), 1, 5, 1, "float32"), 0)
    with pytest.raises(DeviceCallError, match="float32 cannot be normalised"):
        driver.create_level_texture_object(level, normalised=True)


def test_pinned_memory_is_page_aligned_and_known(driver):
    address = driver.allocate_pinned(5000)
    assert address % 4096 == 0
    assert driver.is_pinned(address)
    assert driver.is_pinned(address + 4999)
    assert not driver.is_pinned(address + 5000)
    memory = np.ctypeslib.as_array((ctypes.c_ubyte * 5000).from_address(address))
    memory[:] = 3
    target = np.zeros(5000, np.uint8)
    driver.copy(target.ctypes.data, address, 5000, 0)
    assert (target == 3).all()
    driver.free_pinned(address)
    assert not driver.is_pinned(address)


def test_arrays_hold_rubbish_and_use_memory():
    driver = HostDriver(memory_bytes=10_000)
    array = driver.create_array((16, 16), 2, 5, 4, "uint8")
    assert driver.memory() == (10_000 - 2 * 4 * 341, 10_000)
    assert (driver.texels(array, 4) == 171).all()
    floats = driver.create_array((16, 16), 1, 1, 1, "float32")
    assert np.isnan(driver.texels(floats, 0)).all()
    with pytest.raises(MemoryError, match="are free"):
        driver.create_array((32, 32), 2, 5, 4, "uint8")
    assert driver.violations == []


def test_failures_on_demand(driver):
    with pytest.raises(ValueError, match="no call"):
        driver.fail("create_arrays")
    driver.fail("create_array", 2)
    driver.fail("create_event")
    array = driver.create_array((16, 16), 1, 5, 4, "uint8")
    with pytest.raises(MemoryError, match="create_array: failure asked for"):
        driver.create_array((16, 16), 1, 5, 4, "uint8")
    with pytest.raises(DeviceCallError, match="create_event: failure asked for"):
        driver.create_event()
    assert driver.leaks() == [f"array {array:#x}"]
    driver.fail("destroy_array")  # a call that ends something does, and then reports the error
    with pytest.raises(DeviceCallError):
        driver.destroy_array(array)
    assert driver.leaks() == driver.violations == []
