"""Walks the headers of msgpack bytes without building anything, to see whether each claim fits the bytes there are.

Format: https://github.com/msgpack/msgpack/blob/master/spec.md. Only what plain data is made of is known here.
"""

from typing import Final

#: First byte → bytes that follow it, for values of a fixed size.
_FIXED: Final = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
}  # fmt: skip
#: First byte → bytes of the length that follows it, for texts and bytes.
_SIZED: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
#: First byte → (bytes of the count that follows it, values an element), for arrays and maps.
_COUNTED: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
#: Each array or map costs 56 bytes and more, whatever it holds.
MAX_COLLECTIONS: Final = 5_000_000


def walk_headers(data: bytes, max_depth: int) -> None:
    """Return when ``data`` is one whole value whose every collection has the elements that it claims.

    Raises:
        ValueError: It is cut, goes on after its end, is nested deeper than ``max_depth``, holds an extension type, or
            more than ``MAX_COLLECTIONS`` collections.
    """
    size, at, left, depth, collections = len(data), 0, 1, 0, 0
    #: How many values are claimed and not yet seen, in all collections that are open.
    owed = 1
    #: How many values each collection that is open still waits for.
    open_: list[int] = []
    while left or open_:
        if not left:
            left = open_.pop()
            depth -= 1
            continue
        if at >= size:
            raise ValueError("not a packed value: it is cut")
        left -= 1
        owed -= 1
        first = data[at]
        at += 1
        if first < 0x80 or first >= 0xE0:
            continue
        if 0xA0 <= first < 0xC0:
            at += first & 0x1F
            continue
        if (fixed := _FIXED.get(first)) is not None:
            at += fixed
            continue
        if (sized := _SIZED.get(first)) is not None:
            at += sized + int.from_bytes(data[at : at + sized], "big")
            continue
        if first < 0x90:
            count = (first & 0x0F) * 2
        elif first < 0xA0:
            count = first & 0x0F
        elif first in _COUNTED:
            width, each = _COUNTED[first]
            count = int.from_bytes(data[at : at + width], "big") * each
            at += width
        else:
            raise ValueError(f"not a packed value: the byte {first:#x} begins no plain data")
        collections += 1
        depth += 1
        if depth > max_depth:
            raise ValueError(f"value is nested deeper than {max_depth}")
        owed += count
        if owed > size - at:
            raise ValueError("not a packed value: a header claims more elements than there are bytes")
        if collections > MAX_COLLECTIONS:
            raise ValueError(f"value holds more than {MAX_COLLECTIONS} arrays and objects")
        open_.append(left)
        left = count
    if at != size:
        raise ValueError("not a packed value: it is cut, or goes on after its end")
