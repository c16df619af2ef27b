"""The derived codec does what the construct definitions say, whatever bytes arrive."""

from typing import Any

import construct
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.strategies import MESSAGES, bodies, bodies_of, entries, message_of, messages, tags

from ram9.protocol.codec import Codec, Message, frame
from ram9.protocol.constants import HEADER_BYTES
from ram9.protocol.entries import ENTRIES_FORMAT
from ram9.protocol.errors import ProtocolError
from ram9.protocol.frames import HEADER, FrameBuffer
from ram9.protocol.messages import Tfsync, decode_entries, encode_entry
from ram9.protocol.wire import fields_of

every_message = pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)


def quick(percent: int) -> settings:
    """That share of the examples of the active profile, however slow the machine is."""
    profile = settings.default
    assert profile is not None
    return settings(
        max_examples=max(1, profile.max_examples * percent // 100),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


def plain(value: Any) -> Any:
    """*value* as construct takes and gives it: dicts, lists, bytes and integers."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items() if name != "_io"}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, int | bytes):
        return value
    if isinstance(value, memoryview):
        return bytes(value)
    return {name: plain(getattr(value, name)) for name in fields_of(type(value))}


def decoded(codec: Codec, body: bytes, before: bytes = b"", behind: bytes = b"") -> Message | str:
    """What *body* decodes to inside a larger buffer, or why it does not."""
    view = memoryview(before + body + behind)
    try:
        return codec.decode(view, len(before), len(before) + len(body))
    except ProtocolError as error:
        return str(error)


def parsed(codec: Codec, body: bytes) -> Any:
    """What the definition makes of *body*, or None if it does not allow it."""
    try:
        return plain(codec.format.parse(body))
    except construct.ConstructError:
        return None


@every_message
@quick(8)
@given(data=st.data(), tag=tags)
def test_a_message_is_encoded_as_its_definition_says(
    cls: type[Message], data: st.DataObject, tag: int
) -> None:
    message = data.draw(message_of(cls))
    body = cls.codec.format.build(plain(message))
    header = HEADER.pack(HEADER_BYTES + len(body), cls.number, tag)
    assert frame(message, tag) == header + body


@every_message
@quick(8)
@given(data=st.data())
def test_a_message_comes_back_from_its_bytes(cls: type[Message], data: st.DataObject) -> None:
    message = data.draw(message_of(cls))
    again = decoded(cls.codec, frame(message, 1)[HEADER_BYTES:])
    assert type(again) is cls
    assert again == message


@every_message
@quick(20)
@given(data=st.data())
def test_any_bytes_are_what_the_definition_says_or_are_refused(
    cls: type[Message], data: st.DataObject
) -> None:
    body = data.draw(bodies_of(cls))
    result = decoded(cls.codec, body)
    if isinstance(result, str):
        assert parsed(cls.codec, body) is None
        assert result.startswith(cls.__name__)
    else:
        assert parsed(cls.codec, body) == plain(result)


@quick(150)
@given(case=bodies())
def test_what_is_accepted_has_no_other_encoding(case: tuple[Codec, bytes]) -> None:
    codec, body = case
    message = decoded(codec, body)
    if isinstance(message, Tfsync) and len(body) == 4:
        body += bytes(4)
    if not isinstance(message, str):
        assert frame(message, 1)[HEADER_BYTES:] == body


@quick(150)
@given(case=bodies(), before=st.binary(max_size=30), behind=st.binary(max_size=30))
def test_what_surrounds_a_body_does_not_matter(
    case: tuple[Codec, bytes], before: bytes, behind: bytes
) -> None:
    codec, body = case
    assert decoded(codec, body, before, behind) == decoded(codec, body)


@quick(60)
@given(sent=st.lists(messages(), max_size=5), data=st.data())
def test_frames_come_out_of_a_stream_however_it_is_cut(
    sent: list[Message], data: st.DataObject
) -> None:
    frames = [frame(message, 1) for message in sent]
    following = frame(data.draw(messages()), 2)
    beginning = following[: data.draw(st.integers(0, len(following) - 1))]
    stream = b"".join(frames) + beginning
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    buffer = FrameBuffer(msize=1 << 24)
    found: list[bytes] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += buffer.feed(stream[start:stop])
    assert found == frames
    assert buffer.held_bytes() == len(beginning)


@quick(50)
@given(listed=st.lists(entries, max_size=5))
def test_directory_entries_are_what_their_definition_says(listed: list[Any]) -> None:
    data = b"".join(
        encode_entry(e.qid.type, e.qid.version, e.qid.path, e.offset, e.type, e.name)
        for e in listed
    )
    assert data == ENTRIES_FORMAT.build(plain(listed))
    assert decode_entries(data) == listed


@quick(60)
@given(listed=st.lists(entries, max_size=3), cut=st.integers(0, 60), more=st.binary(max_size=30))
def test_any_bytes_are_whole_entries_or_are_refused(
    listed: list[Any], cut: int, more: bytes
) -> None:
    whole: bytes = ENTRIES_FORMAT.build(plain(listed))
    data = whole[: len(whole) - cut] + more
    try:
        found = decode_entries(data)
    except ProtocolError:
        assert ENTRIES_FORMAT.build(ENTRIES_FORMAT.parse(data)) != data
    else:
        assert plain(found) == plain(ENTRIES_FORMAT.parse(data))
