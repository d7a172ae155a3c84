"""Plain text (txt, md) as numbered rows of one column, `text`.

A txt is one row a paragraph (blank lines stand between), or one row a line if no blank line stands in its beginning.
A md is one row a file, because blank lines are part of how it is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.data.files.byte_stream import PACKED, Reading
from studio.data.files.rows import BadRow
from studio.data.files.text_lines import LONGEST_LINE, Numbered, Overlong, Text, excerpt


def read_text(path: Path, reading: Reading) -> Iterator[Numbered | BadRow]:
    """The rows of a txt or md file, as the module's head says."""
    text = Text(path, reading, least_lines=1)
    ending = next(suffix for suffix in reversed(path.suffixes) if suffix.lower() not in PACKED).lower()
    whole = ending == ".md"
    by_line = not whole and all(line.strip() for line in text.sample.strip().splitlines())
    paragraph = _Paragraph(text)
    for number, line in enumerate(text.lines(), start=1):
        blank = not line.strip()
        if paragraph.lines and (by_line or (blank and not whole)):
            yield paragraph.row()
            paragraph = _Paragraph(text)
        if paragraph.lines or not blank:
            paragraph.add(number, line)
    if paragraph.lines:
        yield paragraph.row()
    text.check()


class _Paragraph:
    """Lines that make one row."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._start = 0
        self._size = 0
        self._problem = ""
        self.lines: list[str] = []

    def add(self, number: int, line: bytes) -> None:
        """Take a further line, or note why the row is bad."""
        self._start = self._start or number
        self._size += len(line)
        if isinstance(line, Overlong) or self._size > LONGEST_LINE:
            self._problem = f"it is longer than {LONGEST_LINE >> 20} MB"
            self.lines = [*self.lines, excerpt(line)][:1]
            return
        if not line.isascii() and not self._text.is_utf8(line):
            self._problem = f"it holds bytes that are no valid {self._text.encoding}"
        self.lines.append(line.removesuffix(b"\r").decode(errors="replace"))

    def row(self) -> Numbered | BadRow:
        """What the lines make."""
        if self._problem:
            return BadRow(self._text.path.name, self._start, self._problem, excerpt(self.lines[0]))
        return self._start, {"text": "\n".join(self.lines).strip("\n")}
