"""Clients that lock, wait, change their minds and go, against a model that knows only bytes."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.client import NS, Client, Server, messages_of

from ram9.protocol.codec import frame
from ram9.protocol.constants import LOCK_FLAGS_BLOCK
from ram9.protocol.messages import Rlerror, Rlock, Tclunk, Tflush, Tlock
from ram9.storage.errors import Errno

RDLCK, WRLCK, UNLCK = 0, 1, 2
GRANTED, BLOCKED = Rlock(0), Rlock(1)
SECONDS = 10_000
CLIENTS = 3
FILES = (b"one", b"two")
BYTES = 5  # that are told apart; one more stands for all behind them

Owner = tuple[int, int]  # client, process


@dataclass(frozen=True)
class Wish:
    """What is asked for; *length* 0 reaches to the end."""

    owner: Owner
    file: int
    kind: int
    start: int
    length: int

    @property
    def places(self) -> range:
        return range(self.start, self.start + self.length if self.length else BYTES + 1)

    @property
    def is_whole(self) -> bool:
        return not self.start and not self.length


class Model:
    """Who has what of each byte, and who waits, in the order in which they came."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, int], dict[Owner, int]] = {}
        self.waiting: dict[tuple[int, int], Wish] = {}  # by client and tag

    def obstacles(self, wish: Wish) -> set[Owner]:
        return {
            owner
            for place in wish.places
            for owner, kind in self.held.get((wish.file, place), {}).items()
            if owner != wish.owner and WRLCK in (kind, wish.kind)
        }

    def put(self, wish: Wish) -> None:
        for place in wish.places:
            owners = self.held.setdefault((wish.file, place), {})
            owners.pop(wish.owner, None)
            if wish.kind != UNLCK:
                owners[wish.owner] = wish.kind

    def granted(self) -> list[tuple[int, int]]:
        """Grant what can be had, over and over; whose requests, in their order."""
        found = []
        is_more = True
        while is_more:
            is_more = False
            for key, wish in list(self.waiting.items()):
                if not self.obstacles(wish):
                    self.put(wish)
                    del self.waiting[key]
                    found.append(key)
                    is_more = True
        return found

    def is_of_fcntl(self, wish: Wish) -> bool:
        holds = any(wish.owner in self.held.get((wish.file, place), {}) for place in wish.places)
        return not wish.is_whole or holds

    def is_deadlock(self, wish: Wish) -> bool:
        """Whether its owner would wait for itself, in any number of steps."""
        seen: set[Owner] = set()
        todo = [wish]
        while todo:
            wish_now = todo.pop()
            if not self.is_of_fcntl(wish_now):
                continue
            for owner in self.obstacles(wish_now) - seen:
                seen.add(owner)
                todo += [each for each in self.waiting.values() if each.owner == owner]
        return wish.owner in seen

    def forget(self, client: int) -> None:
        """A client is gone."""
        for owners in self.held.values():
            for owner in [owner for owner in owners if owner[0] == client]:
                del owners[owner]
        self.waiting = {key: wish for key, wish in self.waiting.items() if key[0] != client}


numbers = st.integers(0, CLIENTS - 1)
wishes = st.builds(
    Wish,
    st.tuples(numbers, st.integers(1, 2)),
    st.integers(0, len(FILES) - 1),
    st.sampled_from([RDLCK, WRLCK]),
    st.integers(0, BYTES - 1),
    st.just(0),
).flatmap(
    lambda wish: st.builds(
        Wish,
        st.just(wish.owner),
        st.just(wish.file),
        st.just(wish.kind),
        st.just(wish.start),
        st.integers(0, BYTES - wish.start),
    )
)


class WaitingMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.server = Server(lock_wait=SECONDS)
        self.model = Model()
        self.tag = 0
        self.clients: list[Client] = [self.server.connect() for _ in range(CLIENTS)]
        for name in FILES:
            self.clients[0].make(name, mode=0o666)
        self.fids = [[client.open(name) for name in FILES] for client in self.clients]

    def ask(self, wish: Wish, flags: int) -> tuple[int, list[Rlock | Rlerror]]:
        """The tag of a request, and the answer that came at once, if there is one."""
        self.tag += 1
        number, process = wish.owner
        fid = self.fids[number][wish.file]
        request = Tlock(fid, wish.kind, flags, wish.start, wish.length, process, b"host")
        answers = messages_of(self.clients[number].send(frame(request, self.tag)))
        assert {tag for _, tag in answers} <= {self.tag}
        return self.tag, [reply for reply, _ in answers]

    def expect_late(self, expected: dict[tuple[int, int], Rlock | Rlerror]) -> None:
        """These answers came, and no others."""
        found = {
            (number, tag): reply
            for number, client in enumerate(self.clients)
            for reply, tag in client.late()
        }
        assert found == expected

    def expect_granted(self) -> None:
        self.expect_late(dict.fromkeys(self.model.granted(), GRANTED))

    @rule(wish=wishes, waits=st.booleans())
    def lock(self, wish: Wish, *, waits: bool) -> None:
        obstacles = self.model.obstacles(wish)
        tag, answer = self.ask(wish, LOCK_FLAGS_BLOCK if waits else 0)
        if not obstacles:
            assert answer == [GRANTED]
            self.model.put(wish)
        elif not waits:
            assert answer == [BLOCKED]
        elif self.model.is_of_fcntl(wish) and self.model.is_deadlock(wish):
            assert answer == [Rlerror(Errno.EDEADLK)]
        else:
            assert answer == []
            self.model.waiting[wish.owner[0], tag] = wish
        self.expect_granted()

    @rule(wish=wishes)
    def unlock(self, wish: Wish) -> None:
        wish = Wish(wish.owner, wish.file, UNLCK, wish.start, wish.length)
        assert self.ask(wish, 0)[1] == [GRANTED]
        self.model.put(wish)
        self.expect_granted()

    @precondition(lambda self: self.model.waiting)
    @rule(data=st.data())
    def flush(self, data: st.DataObject) -> None:
        number, tag = data.draw(st.sampled_from(sorted(self.model.waiting)))
        self.clients[number].call(Tflush(tag))
        del self.model.waiting[number, tag]
        self.expect_late({})

    @rule(number=numbers, file=st.integers(0, len(FILES) - 1))
    def close_and_open(self, number: int, file: int) -> None:
        client = self.clients[number]
        client.call(Tclunk(self.fids[number][file]))
        refused = [
            key
            for key, wish in self.model.waiting.items()
            if key[0] == number and wish.file == file
        ]
        for key in refused:
            del self.model.waiting[key]
        for process in 1, 2:
            self.model.put(Wish((number, process), file, UNLCK, 0, 0))
        late: dict[tuple[int, int], Rlock | Rlerror] = dict.fromkeys(refused, Rlerror(Errno.EBADF))
        late.update(dict.fromkeys(self.model.granted(), GRANTED))
        self.expect_late(late)
        self.fids[number][file] = client.open(FILES[file])

    @rule(number=numbers)
    def come_again(self, number: int) -> None:
        self.clients[number].connection.close()
        assert self.clients[number].late() == []
        self.server.clients.remove(self.clients[number])
        self.clients[number] = self.server.connect()
        self.model.forget(number)
        self.expect_granted()
        self.fids[number] = [self.clients[number].open(name) for name in FILES]

    @rule()
    def wait_for_long(self) -> None:
        self.server.clock.now_ns += 2 * SECONDS * NS
        self.server.waiting_locks.expire()
        self.expect_late(dict.fromkeys(self.model.waiting, BLOCKED))
        self.model.waiting.clear()

    @invariant()
    def all_is_well(self) -> None:
        self.server.verify()


TestWaiting = WaitingMachine.TestCase
TestWaiting.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
