"""Access control lists for tests: written by hand, and drawn."""

from hypothesis import strategies as st

from ram9.storage.acls import GROUP, GROUP_OBJ, MASK, NO_ID, OTHER, USER, USER_OBJ, Entry, encode


def access_list(*entries: tuple[int, ...]) -> bytes:
    """The value of a list: (tag, permissions) of each class, and (tag, permissions, id)."""
    return encode(Entry(*entry, *[NO_ID] * (3 - len(entry))) for entry in entries)


LIST = access_list((USER_OBJ, 7), (USER, 6, 5), (GROUP_OBJ, 4), (MASK, 6), (OTHER, 0))
"""One that is more than a mode."""

permissions = st.integers(0, 7)


@st.composite
def valid_lists(draw: st.DrawFn, ids: st.SearchStrategy[int]) -> bytes:
    """Values that Linux takes, whose named users and groups are of *ids*."""
    entries: list[tuple[int, ...]] = [(USER_OBJ, draw(permissions))]
    named = st.lists(st.tuples(permissions, ids), max_size=2)
    entries += [(USER, *entry) for entry in draw(named)]
    entries.append((GROUP_OBJ, draw(permissions)))
    entries += [(GROUP, *entry) for entry in draw(named)]
    if any(len(entry) == 3 for entry in entries) or draw(st.booleans()):
        entries.append((MASK, draw(permissions)))
    return access_list(*entries, (OTHER, draw(permissions)))


@st.composite
def any_lists(draw: st.DrawFn) -> bytes:
    """Values that Linux may take: valid ones, and those with something broken."""
    value = bytearray(draw(valid_lists(st.integers(0, 3))))
    match draw(st.sampled_from(["valid", "empty", "cut", "flip", "shuffle"])):
        case "empty":
            return draw(st.sampled_from([b"", bytes(value[:4])]))
        case "cut":
            del value[draw(st.integers(0, len(value))) :]
        case "flip":
            position = draw(st.integers(0, len(value) - 1))
            value[position] ^= draw(st.sampled_from([1, 2, 8, 255]))
        case "shuffle":
            entries = [bytes(value[at : at + 8]) for at in range(4, len(value), 8)]
            return bytes(value[:4]) + b"".join(draw(st.permutations(entries)))
    return bytes(value)
