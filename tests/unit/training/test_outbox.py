"""What an attempt has to say, on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.outbox_disk import DiskOutbox, disk_outboxes
from services.training.application.ports import Record
from services.training.domain.candidate import CandidateResult
from services.training.domain.checkpoint import Checkpoint
from tests.unit.training.samples import checkpoint, event, point

RECORDS: list[Record] = [
    point(1),
    event("went_on"),
    checkpoint(2, score=0.5),
    checkpoint(3, score=None),
    CandidateResult(7, {"log_loss": 0.5}, {}, 0.25, "größe: it came to nothing"),
    replace(point(4), values={"größe ☃": 0.1 + 0.2, "tiny": 5e-324, "huge": 1.7976931348623157e308}),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.jsonl"


def filled(path: Path, records: list[Record] = RECORDS) -> DiskOutbox:
    outbox = DiskOutbox(path)
    for record in records:
        outbox.append(record)
    return outbox


def numbered(records: list[Record] = RECORDS) -> list[tuple[int, Record]]:
    """As they are read: all but checkpoints know their seq."""
    return [
        (seq, record if isinstance(record, Checkpoint) else replace(record, seq=seq))
        for seq, record in enumerate(records, 1)
    ]


def test_what_is_appended_is_read_as_it_was_by_another_process_too(path: Path) -> None:
    assert filled(path).read(0, 100) == numbered()
    assert DiskOutbox(path).read(0, 100) == numbered()


def test_nothing_is_there_before_the_first_record(path: Path) -> None:
    assert DiskOutbox(path).read(0, 100) == []
    assert DiskOutbox(path.parent / "none" / "outbox.jsonl").read(0, 100) == []


@given(st.data())
def test_any_way_of_reading_sees_each_record_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("outbox") / "outbox.jsonl"
    writer, reader, seen = DiskOutbox(path), DiskOutbox(path), 0
    for number in range(1, 9):
        writer.append(point(number))
        if data.draw(st.booleans()):
            limit = data.draw(st.integers(1, 3))
            read = reader.read(seen, limit)
            assert [seq for seq, _ in read] == list(range(seen + 1, seen + 1 + len(read)))
            sent = data.draw(st.booleans())  # else it is read again
            seen = read[-1][0] if read and sent else seen
    after = data.draw(st.integers(0, 10))
    assert [seq for seq, _ in reader.read(after, 100)] == list(range(after + 1, 9))


@pytest.mark.parametrize("cut", [1, 20])
def test_a_record_that_a_crash_cut_short_was_never_there(path: Path, cut: int) -> None:
    filled(path)
    path.write_bytes(path.read_bytes()[:-cut])
    reader = DiskOutbox(path)
    assert reader.read(0, 100) == numbered()[:-1]
    assert reader.read(len(RECORDS) - 1, 100) == []


def test_the_reader_waits_for_the_rest_of_a_line(path: Path) -> None:
    filled(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    reader = DiskOutbox(path)
    assert len(reader.read(0, 100)) == len(RECORDS) - 1
    with path.open("ab") as file:
        file.write(whole[-10:])
    assert reader.read(len(RECORDS) - 1, 100) == numbered()[-1:]


def test_a_damaged_line_takes_nothing_else_with_it(path: Path) -> None:
    """The reconciler collects what a dead attempt left: an error here would hold up every job."""
    filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[0] = b"\0" * 10 + lines[0][10:]
    lines[2] = b"{}\n"
    path.write_bytes(b"".join(lines))
    assert DiskOutbox(path).read(0, 100) == [numbered()[1], *numbered()[3:]]


def test_a_disk_that_cannot_be_written_holds_nothing_up_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "later" / "outbox.jsonl"
    outbox = filled(path, RECORDS[:2])
    assert outbox.read(0, 100) == numbered()[:2]
    assert outbox.read(1, 100) == numbered()[1:2]
    assert outbox.read(0, 1) == numbered()[:1]
    path.parent.mkdir()
    outbox.append(RECORDS[2])
    assert outbox.read(0, 100) == numbered()[:3]
    assert outbox.read(2, 100) == numbered()[2:3]
    assert DiskOutbox(path).read(0, 100) == numbered()[:3]


def test_each_attempt_has_one_of_its_own_and_it_goes_with_the_workspace(tmp_path: Path) -> None:
    artifacts = DiskArtifacts(tmp_path)
    outboxes = disk_outboxes(artifacts)
    for attempt in (1, 2):
        outboxes("job-1", attempt).append(point(attempt))
    assert [outboxes("job-1", attempt).read(0, 9)[0][1] for attempt in (1, 2)] == [
        point(1, seq=1),
        point(2, seq=1),
    ]
    artifacts.clear_workspaces("job-1", 1)
    assert outboxes("job-1", 1).read(0, 9) == []
    assert len(outboxes("job-1", 2).read(0, 9)) == 1
