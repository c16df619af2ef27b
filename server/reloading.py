"""Reads the configuration file again, when a signal says so."""

import logging

from ram9.server.changes import Changes
from ram9.server.config import ConfigError
from ram9.server.config_file import parse_config
from ram9.server.logs import event
from ram9.server.memory import MemoryFiles, require_memory
from ram9.server.reading import text_of

log = logging.getLogger("ram9")


def reload_config(changes: Changes, files: MemoryFiles) -> None:
    """Have *changes* make what the file of its configuration says now.

    If that is a mistake, one line of the log says which, and everything stays as it was.
    """
    path = changes.config.path
    if not path:
        event(log, logging.INFO, "nothing to reload", reason="there is no configuration file")
        return
    try:
        new = parse_config(text_of(path), path, lambda: files.limit().size_bytes)
        if not new.overcommit:
            require_memory(new, files.limit())
        changes.reload(new)
    except ConfigError as error:
        event(log, logging.ERROR, "reload refused", reason=error)
    else:
        event(log, logging.INFO, "reloaded", path=path, volumes=len(new.volumes))
