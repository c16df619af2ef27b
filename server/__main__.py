"""The command ``ram9``."""

import asyncio
import signal
import sys

from ram9.server import arguments, asking, logs
from ram9.server.config import ConfigError
from ram9.server.memory import MemoryFiles, require_memory
from ram9.server.ping import ping
from ram9.server.reading import text_of


def main() -> int:
    """Do what the command line says; return the exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until it serves, there is nothing to tell
    files = MemoryFiles()
    request = arguments.parse_arguments(
        sys.argv[1:], lambda: files.limit().size_bytes, lambda path: asyncio.run(text_of(path))
    )
    if isinstance(request, arguments.Ping):
        return ping(request.address)
    if isinstance(request, arguments.AskStatus):
        return asking.status(request.control, is_json=request.is_json)
    if isinstance(request, arguments.AskResize):
        return asking.resize(request.control, request.volume, request.size, request.inodes)
    try:
        import uvloop

        from ram9.server.app import serve
    except ImportError as error:
        return _refuse(
            f"{error.name or error} is missing; install ram9 and what it needs with: "
            "pip install ram9"
        )
    logs.configure(request.log_level, request.log_format)
    try:
        memory = files.limit()
    except ConfigError:
        memory = None  # the size was given in bytes, and there is nothing to compare it with
    try:
        if memory is not None:
            require_memory(request, memory)
        uvloop.run(serve(request, files, memory))
    except ConfigError as refusal:
        return _refuse(str(refusal))
    return 0


def _refuse(sentence: str) -> int:
    print(f"ram9: error: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
