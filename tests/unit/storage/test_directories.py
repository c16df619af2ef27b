"""Names in a directory, and the cookies from which listing resumes."""

import sys

import pytest

from ram9.storage.directories import DOTDOT_COOKIE, STALE_MIN, Entries


def listed(entries: Entries[int], cookie: int = 0) -> list[bytes]:
    return [name for _, name, _ in entries.after(cookie)]


@pytest.fixture
def entries() -> Entries[int]:
    made: Entries[int] = Entries()
    for number in range(10):
        made.add(b"%d" % number, number)
    return made


def test_a_name_leads_to_its_inode(entries: Entries[int]) -> None:
    assert entries.get(b"7") == 7


def test_a_name_that_is_not_there_leads_nowhere(entries: Entries[int]) -> None:
    assert entries.get(b"x") is None
    assert b"x" not in entries


def test_a_name_is_not_added_twice(entries: Entries[int]) -> None:
    with pytest.raises(AssertionError):
        entries.add(b"1", 1)


def test_names_are_listed_as_they_were_added(entries: Entries[int]) -> None:
    assert listed(entries) == [b"%d" % number for number in range(10)]
    assert list(entries) == [(b"%d" % number, number) for number in range(10)]


def test_cookies_come_after_those_of_the_dots(entries: Entries[int]) -> None:
    assert next(cookie for cookie, _, _ in entries.after(0)) == DOTDOT_COOKIE + 1


def test_listing_resumes_behind_a_cookie(entries: Entries[int]) -> None:
    cookies = {name: cookie for cookie, name, _ in entries.after(0)}
    assert listed(entries, cookies[b"7"]) == [b"8", b"9"]


def test_listing_resumes_behind_a_name_that_was_removed(entries: Entries[int]) -> None:
    cookies = {name: cookie for cookie, name, _ in entries.after(0)}
    entries.remove(b"7")
    assert listed(entries, cookies[b"7"]) == [b"8", b"9"]


def test_a_name_added_again_comes_last(entries: Entries[int]) -> None:
    entries.remove(b"3")
    entries.add(b"3", 33)
    assert listed(entries)[-2:] == [b"9", b"3"]
    assert len(listed(entries)) == 10


def test_a_replaced_name_keeps_its_place(entries: Entries[int]) -> None:
    assert entries.replace(b"3", 33) == 3
    assert [inode for _, _, inode in entries.after(0)][3] == 33


def test_a_reader_misses_nothing_while_names_come_and_go() -> None:
    """What is there from the beginning to the end is seen once, however the rest changes."""
    entries: Entries[int] = Entries()
    for number in range(1000):
        entries.add(b"%d" % number, number)
    seen: list[bytes] = []
    cookie = 0
    while batch := [(place, name) for place, name, _ in entries.after(cookie)][:7]:
        seen += [name for _, name in batch]
        cookie = batch[-1][0]
        for _, name in batch:
            if int(name) % 10 and int(name) < 1000:
                entries.remove(name)
        if cookie < 1000:
            entries.add(b"%d" % (1000 + cookie), 0)
    assert len(seen) == len(set(seen))
    assert [name for name in seen if int(name) < 1000] == [b"%d" % n for n in range(1000)]


def test_a_cookie_is_never_used_again() -> None:
    entries: Entries[int] = Entries()
    for number in range(500):
        entries.add(b"name", number)
        assert next(entries.after(0))[0] == DOTDOT_COOKIE + 1 + number
        entries.remove(b"name")


def test_a_table_shrinks_with_its_names() -> None:
    entries: Entries[int] = Entries()
    for number in range(10_000):
        entries.add(b"%d" % number, number)
    for number in range(10_000):
        entries.remove(b"%d" % number)
    assert len(entries._names) <= STALE_MIN
    assert sys.getsizeof(entries._by_name) < 10_000


def test_removed_names_are_not_kept() -> None:
    """An empty directory kept up to 64 removed names of 255 bytes, which nobody was charged for."""
    entries: Entries[int] = Entries()
    for number in range(STALE_MIN):
        entries.add(b"%0255d" % number, number)
        entries.remove(b"%0255d" % number)
    assert not any(entries._names)


def test_a_name_is_found_by_its_cookie_while_it_is_there(entries: Entries[int]) -> None:
    assert [entries.name_at(entries.cookie_of(name)) for name, _ in entries] == listed(entries)
    gone = entries.cookie_of(b"4")
    entries.remove(b"4")
    entries.add(b"4", 4)
    assert entries.name_at(gone) == b""
    assert entries.name_at(entries.cookie_of(b"4")) == b"4"
    assert entries.cookie_of(b"x") == 0
    assert {entries.name_at(cookie) for cookie in (0, DOTDOT_COOKIE, 99)} == {b""}


def test_a_name_is_found_by_its_cookie_after_many_others_have_gone() -> None:
    entries: Entries[int] = Entries()
    for number in range(10 * STALE_MIN):
        entries.add(b"%d" % number, number)
    last = entries.cookie_of(b"639")
    for number in range(10 * STALE_MIN - 1):
        entries.remove(b"%d" % number)
    assert entries.name_at(last) == b"639"


def test_the_last_names_can_be_taken_at_once() -> None:
    entries: Entries[int] = Entries()
    for number in range(10):
        entries.add(b"%d" % number, number)
    entries.remove(b"9")
    entries.remove(b"7")
    entries.replace(b"6", 60)
    assert entries.take_last(3) == [8, 60, 5]
    assert [name for name, _ in entries] == [b"0", b"1", b"2", b"3", b"4"]
    assert [name for _, name, _ in entries.after(3)] == [b"1", b"2", b"3", b"4"]
    entries.add(b"new", 100)
    assert entries.name_at(entries.cookie_of(b"new")) == b"new"
    assert entries.take_last(100) == [100, 4, 3, 2, 1, 0]
    assert entries.take_last(1) == []
    assert len(entries) == 0
