"""Who runs next, and where everybody else stands."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.training.domain.job import Device, JobState
from services.training.domain.schedule import Place, Standing, in_turn, next_to_start, places

CPU, GPU = Device.CPU, Device.GPU
STATES = st.sampled_from([JobState.QUEUED] * 3 + [JobState.RUNNING, JobState.CANCELLING])
ABOUT_TO = Place(1, "A slot is free; it is about to start.")
SLOTS = st.fixed_dictionaries({CPU: st.integers(1, 4)}, optional={GPU: st.integers(1, 3)})


@st.composite
def standings(
    draw: st.DrawFn, most: int = 14, levels: int = 3, devices: int = 2, workers: int = 1
) -> list[Standing]:
    """Oldest first, as the store answers them."""
    return [
        Standing(
            f"job-{position}",
            position,
            draw(STATES),
            draw(st.sampled_from("abc")),
            draw(st.integers(1, levels)),
            draw(st.sampled_from([CPU, GPU][:devices])),
            draw(st.integers(1, workers)),
        )
        for position in range(1, draw(st.integers(0, most)) + 1)
    ]


def waits(
    job_id: int, tenant: str = "a", priority: int = 0, device: Device = CPU, workers: int = 1
) -> Standing:
    return Standing(f"job-{job_id}", job_id, JobState.QUEUED, tenant, priority, device, workers)


def runs(job_id: int, tenant: str = "a", device: Device = CPU, workers: int = 1) -> Standing:
    return replace(waits(job_id, tenant, device=device, workers=workers), state=JobState.RUNNING)


def order(*all_of_them: Standing, device: Device = CPU) -> list[int]:
    return [one.position for one in in_turn(all_of_them, device)]


def started(found: list[Standing], job_id: str) -> list[Standing]:
    return [replace(one, state=JobState.RUNNING) if one.job_id == job_id else one for one in found]


def busy(found: list[Standing], device: Device) -> int:
    return sum(one.workers for one in found if one.state.live and one.device is device)


def test_older_jobs_go_first_and_higher_priorities_before_them() -> None:
    assert order(waits(1), waits(2), waits(3)) == [1, 2, 3]
    assert order(waits(1, priority=-1), waits(2), waits(3, priority=5), waits(4, priority=5)) == [3, 4, 2, 1]


def test_a_tenant_with_a_thousand_jobs_holds_nobody_up() -> None:
    queue = [waits(number, "many") for number in range(1, 1001)] + [waits(1001, "few"), waits(1002, "few")]
    assert order(*queue)[:5] == [1, 1001, 2, 1002, 3]
    assert order(runs(0, "many"), *queue)[:3] == [1001, 1, 1002]


def test_priority_goes_before_fairness() -> None:
    assert order(runs(1, "a"), waits(2, "b"), waits(3, "a", priority=1)) == [3, 2]


def test_what_runs_on_another_device_takes_nobodys_turn() -> None:
    queue = [runs(1, "a", GPU), runs(2, "a", GPU), waits(3, "a"), waits(4, "b"), waits(5, "b", device=GPU)]
    assert order(*queue) == [3, 4]
    assert order(*queue, device=GPU) == [5]


@given(standings())
def test_everyone_in_the_queue_has_one_turn_and_higher_priorities_theirs_first(found: list[Standing]) -> None:
    for device in Device:
        turns = list(in_turn(found, device))
        waiting = [one for one in found if one.state is JobState.QUEUED and one.device is device]
        assert sorted(turns, key=lambda one: one.position) == waiting
        priorities = [one.priority for one in turns]
        assert priorities == sorted(priorities, reverse=True)


@given(standings(levels=1, devices=1))
def test_nobody_gets_another_slot_while_one_with_fewer_waits(found: list[Standing]) -> None:
    running = Counter(one.tenant for one in found if one.state.live)
    waiting = Counter(one.tenant for one in found if one.state is JobState.QUEUED)
    for one in in_turn(found, CPU):
        others = [running[tenant] for tenant in waiting if waiting[tenant]]
        assert running[one.tenant] == min(others)
        running[one.tenant] += 1
        waiting[one.tenant] -= 1


@given(standings(levels=1, devices=1))
def test_a_tenants_own_jobs_go_in_their_order(found: list[Standing]) -> None:
    for tenant in "abc":
        mine = [one.position for one in in_turn(found, CPU) if one.tenant == tenant]
        assert mine == sorted(mine)


@given(standings(), SLOTS)
def test_slots_are_filled_and_never_exceeded(found: list[Standing], slots: dict[Device, int]) -> None:
    chosen = next_to_start(found, slots)
    for device in Device:
        waiting = sum(one.state is JobState.QUEUED and one.device is device for one in found)
        starting = sum(one.device is device for one in chosen)
        assert starting == max(0, min(waiting, slots.get(device, 0) - busy(found, device)))
    assert all(one.state is JobState.QUEUED for one in chosen)


@given(standings(), SLOTS)
def test_places_are_the_order_of_starting(found: list[Standing], slots: dict[Device, int]) -> None:
    """As long as nothing else happens: each job that starts, one after another, was in its place."""
    where = places(found, slots)
    assert set(where) == {one.job_id for one in found if one.state is JobState.QUEUED}
    for device in Device:
        mine = [where[one.job_id].position for one in found if one.device is device and one.job_id in where]
        assert sorted(mine) == list(range(1, len(mine) + 1))
        now, expected = found, 1
        while following := next_to_start(now, {device: busy(now, device) + 1}):
            assert where[following[0].job_id].position == expected
            now, expected = started(now, following[0].job_id), expected + 1
        assert expected == len(mine) + 1


@given(standings(workers=4), SLOTS)
def test_who_takes_several_slots_gets_all_of_them_or_none_and_holds_up_who_is_behind(
    found: list[Standing], slots: dict[Device, int]
) -> None:
    chosen = next_to_start(found, slots)
    for device, number in slots.items():
        fitting = [one for one in in_turn(found, device) if one.workers <= number]
        starting = [one for one in chosen if one.device is device]
        assert starting == fitting[: len(starting)]
        free = number - busy(found, device) - sum(one.workers for one in starting)
        assert free >= 0 or not starting
        assert len(starting) == len(fitting) or fitting[len(starting)].workers > free


def test_what_no_slots_of_this_machine_hold_is_left_to_others() -> None:
    queue, slots = [waits(1, workers=3), waits(2)], {CPU: 4}
    assert [one.position for one in next_to_start(queue, slots)] == [1, 2]
    assert [one.position for one in next_to_start(queue, slots, {CPU: 2})] == [2]  # 2 of the 4 are elsewhere


def test_a_tenant_is_served_by_the_slots_that_it_takes() -> None:
    assert order(runs(1, "a", workers=2), runs(2, "b"), waits(3, "a"), waits(4, "b")) == [4, 3]


@given(standings(workers=4), SLOTS)
def test_who_is_said_to_start_now_does(found: list[Standing], slots: dict[Device, int]) -> None:
    about_to = {one.job_id for one in next_to_start(found, slots)}
    where = places(found, slots)
    said = {name for name, place in where.items() if place.reason.startswith("A slot is free")}
    assert said == about_to


@pytest.mark.parametrize(
    ("queue", "slots", "expected"),
    [
        ([waits(9)], {CPU: 1}, ABOUT_TO),
        ([runs(1), waits(9)], {CPU: 1}, Place(1, "Every CPU slot is taken (1).")),
        ([runs(1), runs(2), waits(9)], {CPU: 2}, Place(1, "Every CPU slot is taken (2).")),
        ([runs(1), waits(2), waits(9)], {CPU: 1}, Place(2, "Every CPU slot is taken (1), and 1 go first.")),
        ([waits(1), waits(9)], {CPU: 1}, Place(2, "Every CPU slot is taken (1), and 1 go first.")),
        (
            [runs(1, device=GPU), waits(9)],
            {CPU: 1, GPU: 1},
            Place(1, "A slot is free; it is about to start."),
        ),
        ([waits(9, device=GPU)], {CPU: 1}, Place(1, "There is no GPU slot here.")),
        (
            [runs(1), waits(9, workers=3)],
            {CPU: 3},
            Place(1, "It takes 3 CPU slots at once, and 2 of 3 are free."),
        ),
        ([waits(9, workers=3)], {CPU: 2}, Place(1, "It takes 3 CPU slots at once, and there are 2 here.")),
        (
            [runs(1), waits(2, workers=3), waits(9)],
            {CPU: 3},
            Place(2, "Every CPU slot is taken (3), and 1 go first."),
        ),
        ([waits(2, workers=3), waits(9)], {CPU: 2}, Place(2, "A slot is free; it is about to start.")),
        ([runs(9)], {CPU: 1}, None),
        ([], {CPU: 1}, None),
    ],
)
def test_a_place_is_said_in_words(
    queue: list[Standing], slots: dict[Device, int], expected: Place | None
) -> None:
    assert places(queue, slots).get("job-9") == expected
