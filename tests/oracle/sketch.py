"""What there probably is after the calls that were drawn, so that the next ones find something.

Nothing depends on its being right: that would need the file system that is tested.
"""

import os
from typing import Final

from tests.oracle.calls import Call, above

DIRECTORY: Final = "directory"
FILE: Final = "file"
OTHER: Final = "other"


class Sketch:
    """Paths to kinds, and which descriptors each process has probably opened, to what kind."""

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self.opened: dict[int, dict[int, str]] = {}

    def directories(self) -> list[str]:
        return ["", *(path for path, kind in self.kinds.items() if kind == DIRECTORY)]

    def paths(self, names: tuple[str, ...]) -> list[str]:
        """What is there by one of *names*."""
        return [path for path in self.kinds if path.rpartition("/")[2] in names]

    def note(self, call: Call) -> None:
        """Assume that a call does what it is meant to, if it can."""
        arguments = call.arguments
        if call.name == "open":
            self._open(call.process, *arguments[:3])
        elif call.name == "close":
            self.opened.get(call.process, {}).pop(arguments[0], None)
        elif call.name == "mkdir":
            self._make(arguments[0], DIRECTORY)
        elif call.name == "symlink":
            self._make(arguments[1], OTHER)
        elif call.name == "mknod":
            self._make(arguments[0], OTHER)
        elif call.name == "link" and self.kinds.get(arguments[0], DIRECTORY) != DIRECTORY:
            self._make(arguments[1], self.kinds[arguments[0]])
        elif call.name in ("unlink", "rmdir"):
            self._remove(arguments[0], is_directory=call.name == "rmdir")
        elif call.name in ("rename", "renameat2"):
            self._rename(arguments[0], arguments[1])

    def _open(self, process: int, slot: int, path: str, flags: int) -> None:
        if flags & os.O_CREAT:
            self._make(path, FILE)
        kind = self.kinds.get(path, OTHER)
        if kind != OTHER and (kind == FILE or flags & os.O_ACCMODE == os.O_RDONLY):
            self.opened.setdefault(process, {})[slot] = kind

    def _make(self, path: str, kind: str) -> None:
        if path and path not in self.kinds and above(path) in self.directories():
            self.kinds[path] = kind

    def _remove(self, path: str, *, is_directory: bool) -> None:
        is_empty = not any(above(each) == path for each in self.kinds)
        if is_empty and (self.kinds.get(path) == DIRECTORY) == is_directory:
            self.kinds.pop(path, None)

    def _rename(self, old: str, new: str) -> None:
        if old not in self.kinds or above(new) not in self.directories() or new.startswith(old):
            return
        moved = [path for path in self.kinds if path == old or path.startswith(f"{old}/")]
        self.kinds |= {new + path[len(old) :]: self.kinds.pop(path) for path in moved}
