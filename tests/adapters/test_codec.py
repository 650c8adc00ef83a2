import math
import struct
import threading
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kos_runtime.adapters.codec import FAMILIAR, MAX_DEPTH, DoorCodec, MsgpackCodec
from kos_runtime.core.record import PAYLOAD_LIMIT

CODEC = MsgpackCodec()
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=40,
)


def nested(levels: int, wrap: Callable[[Any], Any] = lambda value: [value]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


def packed(value: Any) -> bytes:
    """What msgpack itself makes of a value, whatever we think of it."""
    made: bytes = msgpack.packb(value, use_bin_type=True)
    return made


@given(plain)
@settings(max_examples=300)
def test_what_packs_unpacks_to_the_same(value: Any) -> None:
    data = CODEC.pack(value)
    assert CODEC.unpack(data) == value
    assert CODEC.unpack_trusted(data) == value
    assert CODEC.pack(CODEC.unpack(data)) == data


@given(st.binary(max_size=200))
@settings(max_examples=1_000)
def test_any_bytes_are_a_plain_value_or_refused(data: bytes) -> None:
    for read in (CODEC.unpack, CODEC.unpack_trusted):
        try:
            value = read(data)
        except ValueError:
            continue
        if read == CODEC.unpack:
            assert CODEC.unpack(CODEC.pack(value)) == value


@given(plain, st.data())
@settings(max_examples=200)
def test_a_cut_value_is_refused(value: Any, data: st.DataObject) -> None:
    whole = CODEC.pack(value)
    with pytest.raises(ValueError, match=r"not a packed value|nested"):
        CODEC.unpack(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ValueError, match="not a packed value"):
        CODEC.unpack(whole + b"\xc0")


def test_equal_values_made_alike_are_equal_bytes() -> None:
    assert CODEC.pack({"a": 1, "b": [1, 2.5, None]}) == CODEC.pack(OrderedDict(a=1, b=(1, 2.5, None)))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": {"b": [1, {2}]}}, r"value\.a\.b\[1\] is set"),
        ({"a": object()}, r"value\.a is object"),
        ({"a": {1: 2, "b": {3}}}, r"value\.a has the key 1, which is no text"),
        ({b"k": float("nan")}, r"value has the key b'k'"),
        ([2**63], r"value\[0\] is an integer beyond 64 bits"),
        ([-(2**63) - 1], r"value\[0\] is an integer beyond 64 bits"),
        ({"n": 2**64}, r"value\.n is an integer beyond 64 bits"),
        ([float("nan")], r"value\[0\] is nan"),
        ({"x": [0.0, float("-inf")]}, r"value\.x\[1\] is -inf"),
        (("ok", float("inf")), r"value\[1\] is inf"),
        ({"t": "\ud800"}, r"value\.t holds half a character"),
        ({"\ud800": 1}, r"\(a key\) holds half a character"),
        (nested(65), "nested deeper than 64"),
        (nested(65, lambda value: {"k": value}), "nested deeper than 64"),
        (nested(2_000), "nested deeper than 64"),
    ],
)
def test_what_is_no_plain_data_is_refused_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CODEC.pack(value)
    assert CODEC.unpack(CODEC.pack({"still": "works"})) == {"still": "works"}


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["self"] = [loop]
    with pytest.raises(ValueError, match="nested deeper"):
        CODEC.pack(loop)


def test_a_mapping_that_raises_is_refused() -> None:
    class Hostile(dict[str, Any]):
        def items(self) -> Any:
            raise KeyError("no")

    with pytest.raises(ValueError, match=r"value\.a is Hostile"):
        CODEC.pack({"a": Hostile(x=1)})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a packed value"),
        (b"\xc1", "not a packed value"),
        (b"\x82\xa1a\x01\xa1a\x02", "a key appears twice"),
        (b"\x81\x01\x02", "int is not allowed for map key"),
        (b"\x81\xc4\x01k\x02", "is no text"),
        (packed(msgpack.ExtType(5, b"x")), "exceeds max_ext_len|extension type"),
        (packed(msgpack.Timestamp(1, 0)), "exceeds max_ext_len|extension type"),
        (b"\xd4\x05x", "not a packed value"),
        (b"\xcb" + struct.pack(">d", math.nan), "is nan"),
        (b"\x91\xcb" + struct.pack(">d", math.inf), "is inf"),
        (b"\x91\xca" + struct.pack(">f", -math.inf), "is -inf"),
        (b"\x91\xca" + struct.pack(">f", math.nan), "is nan"),
        (b"\xcf" + b"\xff" * 8, "beyond 64 bits"),
        (packed(nested(65)), "nested deeper than 64"),
        (packed(nested(65, lambda value: {"k": value})), "nested deeper than 64"),
        (b"\x91" * 100_000 + b"\xc0", "not a packed value"),
        (b"\xa2\xff\xfe", "not a packed value"),
        (b"\x80" * 2, "not a packed value"),
    ],
)
def test_what_no_packing_made_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CODEC.unpack(data)
    assert CODEC.unpack(CODEC.pack([1])) == [1]


def test_the_deepest_and_the_widest_integers_pass() -> None:
    for value in (nested(MAX_DEPTH), nested(MAX_DEPTH, lambda value: {"k": value}), [2**63 - 1, -(2**63)]):
        assert CODEC.unpack(CODEC.pack(value)) == value


@pytest.mark.parametrize("length", [FAMILIAR - 1, FAMILIAR, FAMILIAR + 1, 70_000])
@pytest.mark.parametrize("item", [None, 1.5, "é" * 3, {"n": [1]}], ids=["nil", "float", "text", "object"])
def test_collections_larger_than_the_familiar_pass(length: int, item: Any) -> None:
    for value in ([item] * length, {f"k{n}": item for n in range(length)}):
        data = CODEC.pack(value)
        assert CODEC.unpack(data) == value


@pytest.mark.parametrize(
    "bomb",
    [
        b"\xdd\x00\x0f\xff\xff" * 60,
        b"\xdd\xff\xff\xff\xff" * 60,
        b"\xdf\x00\x0f\xff\xff\xa1a" * 60,
        b"\xdc\xff\xff" * 1_000,
        b"\xdd\x00\x10\x00\x00" * 60 + b"\xc0" * 1_048_576,
        b"\x9f" * 1_000,
    ],
)
def test_headers_that_lie_cost_no_memory(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"not a packed value|nested"):
            CODEC.unpack(bomb)
        assert tracemalloc.get_traced_memory()[1] < 16 * 1_048_576 + 4 * len(bomb)
    finally:
        tracemalloc.stop()


def test_bytes_above_the_limit_are_refused_unread() -> None:
    with pytest.raises(ValueError, match=f"{PAYLOAD_LIMIT + 1} bytes are more than"):
        CODEC.unpack(bytes(PAYLOAD_LIMIT + 1))


def test_one_codec_serves_several_threads() -> None:
    values = [{"n": n, "text": "x" * n, "list": list(range(n))} for n in range(50)]
    wrong: list[Any] = []

    def work() -> None:
        wrong.extend(value for value in values * 20 if CODEC.unpack(CODEC.pack(value)) != value)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_door_is_the_same_codec() -> None:
    with pytest.raises(ValueError, match="is nan"):
        DoorCodec().unpack(b"\xcb" + struct.pack(">d", math.nan))
