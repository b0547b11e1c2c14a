"""What the tests of the documentation read out of Markdown: links, anchors, code blocks, tables. No checks here."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_RUN_FENCE = re.compile(r"^<!-- run -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    file: Path
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file.name}-{self.number}-{self.language}"


def runnable(file: Path) -> Iterator[Block]:
    """The blocks right behind a line `<!-- run -->`."""
    for number, found in enumerate(_RUN_FENCE.finditer(file.read_text(encoding="utf-8")), 1):
        yield Block(file, number, found[1], found[2])


def blocks(file: Path, language: str) -> Iterator[Block]:
    """Every block of a language."""
    for number, found in enumerate(_FENCE.finditer(file.read_text(encoding="utf-8")), 1):
        if found[1] == language:
            yield Block(file, number, found[1], found[2])


def links(file: Path) -> Iterator[str]:
    """Targets of links outside code."""
    prose = _CODE.sub("", _FENCE.sub("", file.read_text(encoding="utf-8")))
    return (found[1] for found in _LINK.finditer(prose))


def anchors(file: Path) -> set[str]:
    """The anchors that GitHub makes of headings; of equal ones the later ones are numbered."""
    seen: Counter[str] = Counter()
    found: set[str] = set()
    for heading in _HEADING.finditer(_FENCE.sub("", file.read_text(encoding="utf-8"))):
        slug = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def rows(file: Path, first_cell: str) -> list[list[str]]:
    """Cells of the table rows whose first cell begins so, without spaces and back quotes around them."""
    lines = file.read_text(encoding="utf-8").splitlines()
    tables = ([cell.strip().strip("`") for cell in line.strip("| ").split(" | ")] for line in lines if line[:1] == "|")
    return [cells for cells in tables if cells[0].startswith(first_cell)]
