"""Reads the configuration file, beside whatever else is to be done: its disk may be slow."""

import os

import aiofiles

from ram9.server.config import ConfigError
from ram9.server.toml_tables import CONFIG_BYTES_MAX


async def text_of(path: str) -> str:
    """The text of the file *path*. Raises ConfigError if there is none that may be read."""
    try:
        async with aiofiles.open(path, "rb", opener=_open) as file:
            # One more than it may have, so that it is seen to be too large.
            data = await file.read(CONFIG_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path} cannot be read: {reason}") from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if error.end == len(data) > CONFIG_BYTES_MAX:
            return data.decode(errors="replace")  # cut in the middle of a character
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: this is not UTF-8") from None


def _open(path: str, flags: int) -> int:
    """Open a file; a FIFO that nobody writes to is empty, and is not waited for."""
    return os.open(path, flags | os.O_NONBLOCK)
