"""docs/operations.md, as the tests read it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "operations.md"
_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """Fenced text. info: what stands behind the fence. line: where it begins."""

    info: str
    text: str
    line: int

    def commands(self) -> list[str]:
        """Its lines without comments; those that end with a backslash are joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


def blocks(info: str = "") -> list[Block]:
    """Every block, or those that are marked so."""
    text = GUIDE.read_text()
    found = (
        Block(one["info"].strip(), one["text"], text.count("\n", 0, one.start()) + 1)
        for one in _FENCE.finditer(text)
    )
    return [block for block in found if info in ("", block.info)]


def headings() -> list[str]:
    """Of every level, in their order."""
    return re.findall(r"^#+ (.+)$", prose(), re.MULTILINE)


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading, without its head."""
    _, _, below = GUIDE.read_text().partition(f"# {heading}\n")
    table = re.search(r"^\|.*?(?=^[^|])", below, re.MULTILINE | re.DOTALL)
    assert table, heading
    lines = table[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def prose() -> str:
    """All but the blocks."""
    return _FENCE.sub("", GUIDE.read_text())
