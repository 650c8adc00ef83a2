"""The codec inside a partition: for values that passed a door already.

What agents report was packed and checked by the runner in their process, commands were unpacked by the door's codec,
and the log's own bytes are under a hash chain. Looking at every number and every level once more, on the path of every
step, would cost more than deciding it.
"""

from typing import Any

import msgpack

from kos_runtime.adapters.codec import MsgpackCodec, Packers


class TrustedCodec(MsgpackCodec):
    """See the module. Safe to share between threads."""

    def __init__(self) -> None:
        super().__init__()
        self._packers = Packers()

    def pack(self, value: Any) -> bytes:
        try:
            packed: bytes = self._packers.pack(value)
        except Exception:
            # The slow way says what is wrong with it.
            self._packers = Packers()
            return super().pack(value)
        return packed

    def unpack(self, data: bytes) -> Any:
        """Return a value that this system packed itself.

        Raises:
            ValueError: These bytes are no packed value.
        """
        try:
            return msgpack.unpackb(data, max_ext_len=0)
        except (msgpack.UnpackException, ValueError, RecursionError) as error:
            raise ValueError(f"not a packed value: {type(error).__name__} {error}".rstrip()) from error
