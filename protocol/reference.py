"""Writes docs/wire-format.md, the reference of the protocol, from the declarations.

``python -m ram9.protocol.reference > docs/wire-format.md`` brings it up to date.
"""

import sys

from ram9.protocol.codec import Codec
from ram9.protocol.entries import DirectoryEntry
from ram9.protocol.messages import CODECS
from ram9.protocol.wire import fields_of, notation_of

_INTRODUCTION = """\
# The wire format

Generated from the declarations in `protocol/messages.py` by `python -m ram9.protocol.reference`;
do not edit. These are the messages of 9P2000.L, the dialect of the Linux client.

A client sends T-messages. Each is answered by the R-message with the next number, or by Rlerror,
and the answer carries the tag of the request. A message is one frame: `size[4] type[1] tag[2]`,
then its fields. `size` counts the whole frame, and is at most the `msize` that Tversion agreed
on. Integers are little-endian and have no sign. A frame that is shorter or longer than its fields
say is refused.
"""


def reference() -> str:
    """The text of docs/wire-format.md."""
    refusal, *others = sorted(CODECS)
    requests = [number for number in others if number % 2 == 0]
    messages = [_section(CODECS[refusal])]
    messages += [_section(CODECS[number], CODECS[number + 1]) for number in requests]
    return "\n".join([_INTRODUCTION, _kinds(), _entries(), "## Messages\n", *messages])


def _kinds() -> str:
    """The table of all kinds of field."""
    kinds = [kind for number in sorted(CODECS) for kind in CODECS[number].fields.values()]
    rows = sorted({(kind.notation.format(name="x"), kind.meaning) for kind in kinds})
    listed = "".join(f"| `{notation}` | {meaning} |\n" for notation, meaning in rows)
    return f"## Fields\n\n| Notation | Meaning |\n|---|---|\n{listed}"


def _entries() -> str:
    """The section on what Rreaddir carries."""
    notation = notation_of(fields_of(DirectoryEntry))
    return f"## Directory entries\n\n`{notation}`\n\n{_prose(DirectoryEntry.__doc__ or '')}\n"


def _section(*codecs: Codec) -> str:
    """The section on one message, or on a request and its answer."""
    parts = [f"### {' and '.join(codec.message.__name__ for codec in codecs)}\n"]
    parts += [f"    {codec.number:3} {codec.notation()}" for codec in codecs]
    parts += [f"\n{_described(codec)}" for codec in codecs if codec.summary]
    return "\n".join(parts) + "\n"


def _described(codec: Codec) -> str:
    """What a message means; behind its request, an answer begins with its name."""
    prose = _prose(codec.summary)
    return f"{codec.message.__name__}: {prose}" if codec.number % 2 else prose


def _prose(docstring: str) -> str:
    """*docstring* as one paragraph of Markdown for each of its own."""
    return "\n\n".join(" ".join(part.split()) for part in docstring.split("\n\n"))


if __name__ == "__main__":
    sys.stdout.write(reference())
