"""A row of a file that cannot be read; the good ones are plain dicts of what JSON knows."""

from __future__ import annotations

from dataclasses import dataclass

EXCERPT_CHARACTERS = 80


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read: where it stands and why."""

    file: str
    """Name of the file, without its folder."""
    line: int
    """Line of the file (from 1) in line-wise files, else the row's number in the file (from 1)."""
    reason: str
    """What is wrong, without a full stop: "the quote opened in column 9 is never closed"."""
    excerpt: str = ""
    """The beginning of the row, at most 80 characters."""

    @property
    def sentence(self) -> str:
        """Where and why, for people."""
        found = f" It begins: “{self.excerpt}”." if self.excerpt else ""
        return f"{self.file}, line {self.line:,}: {self.reason}.{found}"
