"""Tables of text (csv, tsv) as numbered rows.

A csv's cells stay text: an answer 4, NA or true is what it is. Names come from the first row. A row whose number of
cells is not the header's is bad, never shifted. Line ends within cells become \\n.
"""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.data.files.byte_stream import Reading
from studio.data.files.rows import BadRow
from studio.data.files.text_lines import SAMPLE, Numbered, Overlong, Text, excerpt
from studio.errors import InvalidInput

LONGEST_RECORD = 16 << 20
"""A csv row of more bytes is bad; most often a quote in it is never closed. The csv module needs several times that."""
DELIMITERS = (",", ";", "\t", "|")

csv.field_size_limit(LONGEST_RECORD)


def read_csv(path: Path, reading: Reading) -> Iterator[Numbered | BadRow]:
    """The rows of a csv or tsv file."""
    text = Text(path, reading, least_lines=1)
    delimiter, quoted = _find_dialect(text.sample, reading.delimiter, ".tsv" in path.suffixes)
    reading.found_delimiter = reading.found_delimiter or delimiter
    records = _Records(text, delimiter, quoted)
    names: list[str] | None = None
    for number, cells in records:
        if names is None:
            if isinstance(cells, str):
                raise InvalidInput(
                    f"{path.name}: the first row, which should name the columns, cannot be read: {cells}.",
                    field="data.dataset",
                )
            if cells[0] != "sep=":  # a hint for Excel, used in _find_dialect
                names = _column_names(cells)
        elif isinstance(cells, str):
            yield BadRow(path.name, number, cells, records.excerpt)
        elif len(cells) == len(names) or (len(cells) > len(names) and not any(cells[len(names) :])):
            yield number, dict(zip(names, cells, strict=False))
        else:
            yield BadRow(path.name, number, _ragged(len(cells), len(names), records.lines), records.excerpt)
    text.check()


def _column_names(cells: list[str]) -> list[str]:
    """Names that are all there and all different: an empty one becomes column_3, a second answer becomes answer_2."""
    names: list[str] = []
    taken = Counter(cell.strip() for cell in cells)
    for number, cell in enumerate(cells, start=1):
        name = cell.strip() or f"column_{number}"
        copy = 2
        while name in names or (name != cell.strip() and taken[name]):
            name = f"{cell.strip() or f'column_{number}'}_{copy}"
            copy += 1
        names.append(name)
    return names


def _ragged(found: int, expected: int, lines: int) -> str:
    reason = f"it has {found:,} {'cell' if found == 1 else 'cells'} instead of {expected:,}"
    if lines > 1:
        reason += f"; it goes over {lines:,} lines, so a quote in it may not be closed where it should be"
    return reason


class _Records:
    """The records of a csv file: (line it begins in, cells or the reason why it cannot be read)."""

    def __init__(self, text: Text, delimiter: str, quoted: bool) -> None:
        self._text = text
        self._source = text.lines()
        self._again: deque[bytes] = deque()
        """Lines to be read once more, after a quote that was never closed."""
        self._record: list[bytes] = []
        """Lines of the record that is being read."""
        self._size = 0
        self._unusable = ""
        self._format = _csv_format(delimiter, quoted)

    @property
    def excerpt(self) -> str:
        """The beginning of the record."""
        return excerpt(self._record[0]) if self._record else ""

    @property
    def lines(self) -> int:
        """How many lines the record goes over."""
        return len(self._record)

    def __iter__(self) -> Iterator[tuple[int, list[str] | str]]:
        line = 1
        reader = csv.reader(self._next_lines(), **self._format)
        while True:
            self._record, self._size, self._unusable = [], 0, ""
            try:
                cells = next(reader)
            except StopIteration:
                if not self._unusable:
                    return
                yield line, self._unusable
                reader = csv.reader(self._next_lines(), **self._format)
            except csv.Error as error:
                never_closed = "unexpected end of data" in str(error)
                reason = self._unusable or _csv_reason(error, never_closed)
                yield line, reason
                if never_closed and len(self._record) > 1:  # a stray quote must not swallow the rows after it
                    self._again.extendleft(reversed(self._record[1:]))
                    self._record = self._record[:1]
                reader = csv.reader(self._next_lines(), **self._format)
            else:
                if self._unusable:
                    yield line, self._unusable
                elif cells:
                    yield line, cells
            line += len(self._record)

    def _next_lines(self) -> Iterator[str]:
        """Lines for the csv module, which takes one after the other until its record is whole."""
        while True:
            line = self._again.popleft() if self._again else next(self._source, None)
            if line is None:
                return
            self._record.append(line)
            self._size += len(line)
            if isinstance(line, Overlong) or self._size > LONGEST_RECORD:
                self._unusable = f"it is longer than {LONGEST_RECORD >> 20} MB; a quote in it may never be closed"
                return
            if not line.isascii() and not self._text.is_utf8(line):
                self._unusable = f"it holds bytes that are no valid {self._text.encoding}"
            yield line.removesuffix(b"\r").decode(errors="replace") + "\n"


def _csv_format(delimiter: str, quoted: bool) -> dict[str, Any]:
    """For the csv module; strict, because otherwise it drops quotes without a word."""
    return {"delimiter": delimiter, "quoting": csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, "strict": True}


def _csv_reason(error: csv.Error, never_closed: bool) -> str:
    if never_closed:
        return "a quote that is opened in it is never closed"
    if "expected after" in str(error):
        return "after a closing quote comes more text; a quote within a cell must be doubled"
    if "field limit" in str(error):
        return f"a cell is longer than {LONGEST_RECORD >> 20} MB"
    return str(error)


def _find_dialect(sample: str, asked: str, called_tsv: bool) -> tuple[str, bool]:
    """(delimiter, whether quotes mean anything): the pair with which most rows are as wide as the first one."""
    if asked not in ("auto", "tab", "\\t") and len(asked) != 1:
        raise InvalidInput("A delimiter is one character; write tab for a tab.", field="data.delimiter")
    if sample.startswith("sep=") and asked == "auto":  # a hint that Excel reads
        asked = sample[4:5]
    delimiters = DELIMITERS if asked == "auto" else ("\t" if asked in ("tab", "\\t") else asked,)
    rows = sample.splitlines(keepends=True)
    if len(sample) >= SAMPLE // 4 and len(rows) > 2:
        rows.pop()  # it is cut off
    choices = [(delimiter, True) for delimiter in delimiters]
    if "\t" in delimiters:
        choices.append(("\t", False))
    if called_tsv:
        choices.sort(key=lambda choice: choice[0] != "\t")
    return max(choices, key=lambda choice: _fitness(rows, *choice))  # the first one wins a tie


def _fitness(rows: list[str], delimiter: str, quoted: bool) -> tuple[float, int]:
    """(share of rows that are as wide as the first, its width); nothing for a single column, which fits anything."""
    reader = csv.reader(rows, **_csv_format(delimiter, quoted))
    widths = []
    while True:
        try:
            width = len(next(reader))
        except StopIteration:
            break
        except csv.Error:
            width = -1
        if width:
            widths.append(width)
    if not widths or widths[0] < 2:
        return 0.0, 0
    return round(sum(width == widths[0] for width in widths) / len(widths), 2), widths[0]
