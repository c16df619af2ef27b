"""Reads the configuration file."""

from ram9.server.config import ConfigError
from ram9.server.toml_tables import CONFIG_BYTES_MAX


def text_of(path: str) -> str:
    """The text of the file *path*. Raises ConfigError if there is none that may be read."""
    try:
        with open(path, "rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)  # one more, so that it is seen to be too large
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
