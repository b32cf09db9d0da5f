from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from threading import enumerate as running
from time import monotonic, sleep

import pytest

from services.chassis.turns import NoTurn, Turns


def until(condition: Callable[[], bool]) -> None:
    end = monotonic() + 10
    while not condition():
        assert monotonic() < end
        sleep(0.001)


def claims() -> int:
    """Threads that wait for another process."""
    return sum(thread.name == "writer-claim" for thread in running())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "side"


@contextmanager
def held_by_another(file: Path) -> Iterator[Callable[[], None]]:
    """To the kernel, a file that is opened twice is two processes'."""
    with file.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lambda: fcntl.flock(opened, fcntl.LOCK_UN)


@pytest.mark.parametrize("processes", [False, True])
def test_who_came_first_is_served_first(file: Path, processes: bool) -> None:
    turns = Turns(file if processes else None)
    served: list[int] = []

    def take(number: int) -> None:
        with turns.turn(10):
            served.append(number)

    threads = [Thread(target=take, args=(number,)) for number in range(20)]
    with turns.turn(1):
        for number, thread in enumerate(threads, 1):
            thread.start()
            until(lambda number=number: len(turns._waiting) == number)
    for thread in threads:
        thread.join(10)
    assert served == list(range(20))


@pytest.mark.parametrize("processes", [False, True])
def test_nobody_has_it_at_the_same_time(file: Path, processes: bool) -> None:
    turns = [Turns(file), Turns(file)] if processes else [Turns(None)]
    inside = 0

    def take(number: int) -> int:
        nonlocal inside
        with turns[number % len(turns)].turn(30):
            inside += 1
            sleep(0)
            seen = inside
            inside -= 1
        return seen

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(take, range(1000))) == {1}


def test_who_cannot_wait_gives_its_place_up(file: Path) -> None:
    turns = Turns(file)
    entered, leave = Event(), Event()

    def take() -> None:
        with turns.turn(1):
            entered.set()
            leave.wait(10)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(take)
        assert entered.wait(10)
        began = monotonic()
        with pytest.raises(NoTurn), turns.turn(0.05):
            pass
        assert monotonic() - began >= 0.05
        assert not turns._waiting
        leave.set()
        first.result(10)
    with turns.turn(0):
        pass


def test_a_process_that_keeps_it_is_given_up_and_waited_for_no_more(file: Path) -> None:
    turns = Turns(file)
    with held_by_another(file) as let_go:
        for _ in range(2):
            with pytest.raises(NoTurn), turns.turn(0.02):
                pass
        let_go()
    until(lambda: claims() == 0)
    with held_by_another(file):  # nobody kept it by mistake
        pass
    with turns.turn(1):
        pass


def test_it_is_handed_on_when_the_other_process_lets_go(file: Path) -> None:
    turns = Turns(file)

    def take() -> bool:
        with turns.turn(10):
            return True

    with held_by_another(file) as let_go, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(take)
        until(lambda: claims() == 1)
        assert not waiting.done()
        let_go()
        assert waiting.result(10)


def test_an_exception_ends_the_turn(file: Path) -> None:
    turns = Turns(file)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), turns.turn(0):
            raise ZeroDivisionError
    with held_by_another(file):
        pass


def test_a_file_that_cannot_be_opened_gives_no_turn(tmp_path: Path) -> None:
    turns = Turns(tmp_path / "nowhere" / "side")
    for _ in range(2):
        with pytest.raises(NoTurn), turns.turn(0):
            pass
