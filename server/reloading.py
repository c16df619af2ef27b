"""Reads the configuration file again, when a signal says so."""

import asyncio
import logging

from ram9.server.changes import Changes
from ram9.server.config import ConfigError
from ram9.server.config_file import parse_config
from ram9.server.logs import event
from ram9.server.memory import MemoryFiles
from ram9.server.reading import text_of

log = logging.getLogger("ram9")


class Reloading:
    """Has *changes* make what the file of its configuration says now.

    If that is a mistake, one line of the log says which, and everything stays as it was.
    """

    def __init__(self, changes: Changes, files: MemoryFiles) -> None:
        self._changes = changes
        self._files = files
        self._is_wanted = False
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Read the file; once more if it is being read, for it may have changed since."""
        self._is_wanted = True
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._reload_while_wanted())

    async def _reload_while_wanted(self) -> None:
        while self._is_wanted:
            self._is_wanted = False
            await self.reload()
        self._task = None

    async def reload(self) -> None:
        """Read the file, and do what it says or log why not."""
        path = self._changes.config.path
        if not path:
            event(log, logging.INFO, "nothing to reload", reason="there is no configuration file")
            return
        try:
            new = parse_config(await text_of(path), path, lambda: self._files.limit().size_bytes)
            self._changes.reload(new)
        except ConfigError as error:
            event(log, logging.ERROR, "reload refused", reason=error)
        else:
            event(log, logging.INFO, "reloaded", path=path, volumes=len(new.volumes))
