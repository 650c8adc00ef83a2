import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kos_runtime.adapters.headers import walk_headers

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=50,
)


@given(values)
@settings(max_examples=300)
def test_whole_values_pass(value: Any) -> None:
    walk_headers(msgpack.packb(value, use_bin_type=True), 64)


@pytest.mark.parametrize("size", [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
def test_every_width_of_a_length_is_read(size: int) -> None:
    for value in ("x" * size, b"x" * size, [None] * size, dict.fromkeys(map(str, range(size)))):
        walk_headers(msgpack.packb(value, use_bin_type=True), 64)


@given(values, st.data())
@settings(max_examples=200)
def test_cut_or_doubled_values_do_not(value: Any, data: st.DataObject) -> None:
    whole = msgpack.packb(value, use_bin_type=True)
    for wrong in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole * 2):
        with pytest.raises(ValueError, match=r"it is cut|more elements than"):
            walk_headers(wrong, 64)


@given(st.binary(max_size=100))
@settings(max_examples=500)
def test_whatever_passes_is_a_value_to_msgpack_too(data: bytes) -> None:
    try:
        walk_headers(data, 64)
    except ValueError:
        return
    # A map's key may be a list to the format; Python has no such dicts, and a door refuses them before.
    with contextlib.suppress(TypeError):
        msgpack.unpackb(data, strict_map_key=False, unicode_errors="surrogateescape")


@pytest.mark.parametrize("head", [0xC1, 0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8])
def test_what_begins_no_plain_data_is_refused(head: int) -> None:
    with pytest.raises(ValueError, match=f"the byte {head:#x} begins no plain data"):
        walk_headers(bytes([head]) + bytes(20), 64)


def test_depth_is_bounded() -> None:
    walk_headers(b"\x91" * 64 + b"\xc0", 64)
    with pytest.raises(ValueError, match="deeper than 64"):
        walk_headers(b"\x91" * 65 + b"\xc0", 64)


def test_claims_are_added_up_before_anything_is_walked() -> None:
    # Each header alone could be true; together they claim more than there is.
    with pytest.raises(ValueError, match="more elements than there are bytes"):
        walk_headers(b"\xdd\x00\x08\x00\x00" * 2 + bytes(600_000), 64)
