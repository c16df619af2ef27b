"""When memory that files gave up goes back to the system.

To have memory from the system costs several times what it costs to use what is there: its pages are
cleared, and on a virtual machine the host may have to find them first. So what was freed is kept
for those who come next. What nobody needed for some seconds goes back, a step at a time, so that no
request waits long for it.
"""

from collections.abc import Callable, Iterable
from typing import Final

from ram9.storage.limits import SECTOR_BYTES
from ram9.storage.space import FreeSpace

Later = Callable[[float, Callable[[], None]], object]  # call something after so many seconds

STEP_SECTORS: Final = (16 << 20) // SECTOR_BYTES  # in about 1 ms
STEP_SECONDS: Final = 0.005


class Cooling:
    """Gives back what nobody needed for *keep_seconds*, or what is beyond the watermark."""

    __slots__ = ("_keep_seconds", "_later", "_surplus")

    def __init__(self, later: Later, keep_seconds: int) -> None:
        self._later = later
        self._keep_seconds = keep_seconds
        self._surplus: dict[FreeSpace, int] = {}

    def sweep(self, spaces: Iterable[FreeSpace]) -> None:
        """Begin to give back the surplus of *spaces*, which are all there are; once a second."""
        is_under_way = bool(self._surplus)
        surplus = {space: space.surplus(self._keep_seconds + 1) for space in spaces}
        self._surplus = {space: sectors for space, sectors in surplus.items() if sectors > 0}
        if self._surplus and not is_under_way:
            self._later(0, self._step)

    def _step(self) -> None:
        for space, sectors in self._surplus.items():
            given = space.give_back(min(sectors, STEP_SECTORS))
            if given and given < sectors:
                self._surplus[space] = sectors - given
            else:
                del self._surplus[space]
            break
        if self._surplus:
            self._later(STEP_SECONDS, self._step)
