"""The fields of a message whose data has not all arrived yet."""

import struct
from collections.abc import Callable
from typing import Final

from ram9.protocol.codec import Message
from ram9.protocol.derivation import segments_of
from ram9.protocol.messages import Twrite

Head = Callable[[memoryview, int], tuple[int, int, int]]


def head_of(message: type[Message]) -> struct.Struct:
    """The fixed fields and the count before the data of *message*, as they lie in its body."""
    fixed, end = segments_of(message.codec.fields)
    assert not end.codes(), f"{message.__name__} does not end in data"
    return struct.Struct("<" + fixed.codes())


# (fid, offset, count) of the Twrite whose body begins at view[start].
write_head: Final[Head] = head_of(Twrite).unpack_from
