"""Logs of the stack are moved on when they are large, while their writers hold them open."""

from __future__ import annotations

from pathlib import Path

from gateway.log_files import trim


def test_a_large_log_begins_anew_under_its_writer(tmp_path: Path) -> None:
    small = tmp_path / "health.log"
    small.write_text("few words\n")
    with (tmp_path / "training.log").open("a") as writer:
        for number in range(4):
            writer.write(f"line {number}\n" * 20)
            writer.flush()
            trim(tmp_path, 100, 2)
        writer.write("after\n")
    found = {one.name: one.read_text() for one in tmp_path.iterdir()}
    assert sorted(found) == ["health.log", "training.log", "training.log.1", "training.log.2"]
    assert found["training.log"] == "after\n"
    assert set(found["training.log.1"].splitlines()) == {"line 3"}
    assert set(found["training.log.2"].splitlines()) == {"line 2"}
    assert found["health.log"] == "few words\n"


def test_nothing_is_moved_when_there_is_no_bound(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("x" * 1000)
    trim(tmp_path, 0, 3)
    assert [one.name for one in tmp_path.iterdir()] == ["a.log"]
