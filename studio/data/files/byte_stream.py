"""The bytes of a file: unpacked, hashed and counted on the way, block by block.

Knows nothing of letters or rows. A block is all that is in memory.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow

from studio import words
from studio.errors import InvalidInput

BLOCK = 1 << 20
PACKED = {".gz": "gzip", ".zst": "zstd"}
"""File ending -> pyarrow's name of the compression."""
BOMB_BYTES = 1 << 30
BOMB_RATIO = 200
"""A packed file may grow to BOMB_BYTES or this many times its size; text packs to a tenth, repeated text to a 50th."""
SECONDS_BETWEEN_REPORTS = 0.2

Progress = Callable[[int, int], None]
"""(bytes done, bytes in all)"""


class EnoughRead(Exception):
    """A look at the beginning of a file has read as many bytes as it may."""


class BrokenOff(Exception):
    """The bytes end where they should not; `str(error)` is the reason."""


@dataclass
class Reading:
    """One reading of a source: how it is to be read, and what is found out on the way."""

    encoding: str = "auto"
    delimiter: str = "auto"
    split: str = "train"
    """Name of the part that is read, without a slice."""
    progress: Progress | None = None
    total_bytes: int = 0
    head_bytes: int = 0
    """A look at the beginning stops after this many unpacked bytes; 0 reads everything."""
    encodings: dict[Path, str] = field(default_factory=dict)
    """Encodings of files that an earlier attempt took for UTF-8."""
    kind: str = ""
    found_encoding: str = ""
    found_delimiter: str = ""
    label_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    digest: Any = field(default_factory=hashlib.sha256)
    """Hash over the bytes of all files so far."""
    bytes_done: int = 0
    _reported_at: float = 0.0
    _open: _CountedFile | None = None
    _begun: set[Path] = field(default_factory=set)

    def count(self, block: bytes | memoryview) -> None:
        """Hash a block that was read, and report how far this is."""
        self.digest.update(block)
        self.tell(self.bytes_done + len(block))

    def tell(self, bytes_done: int) -> None:
        """Report how far this is, a few times a second."""
        self.bytes_done = bytes_done
        now = time.monotonic()
        if self.progress and now - self._reported_at > SECONDS_BETWEEN_REPORTS:
            self._reported_at = now
            self.progress(min(bytes_done, self.total_bytes), self.total_bytes)

    def end_file(self) -> None:
        """Hash what a reader that stopped early left unread: a fingerprint is one of whole files."""
        if self._open is None:
            return
        while not self.head_bytes and self._open.read(BLOCK):
            continue
        self.end()

    def end_files(self, files: Iterable[Path]) -> None:
        """Hash also the files that were not even begun."""
        self.end_file()
        for path in files:
            if path not in self._begun:
                self.begin_file(path)
                self.end_file()

    def finish(self) -> None:
        """Report the end, which falls between two reports."""
        if self.progress:
            self.progress(self.total_bytes, self.total_bytes)

    def end(self) -> None:
        """Close what is open without reading on."""
        if self._open:
            self._open.release()
            self._open = None

    def begin_file(self, path: Path) -> _CountedFile:
        """Open a file whose bytes are counted; `end_file` closes it."""
        self.end_file()
        self._begun.add(path)
        self._open = _CountedFile(path, self)
        return self._open


class _CountedFile(io.RawIOBase):
    """A file whose bytes are counted and hashed as they are read."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self._file = open(path, "rb", buffering=0)
        self._reading = reading
        self._size = path.stat().st_size
        self._done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer) or 0
        self._reading.count(memoryview(buffer)[:count])
        self._done += count
        return count

    def read_to(self, share: float) -> None:
        """Count the bytes up to a share of the file, whose rows are read by other means."""
        while self._done < share * self._size and self.read(BLOCK):
            continue

    def close(self) -> None:
        """Do nothing: pyarrow closes what it is handed, but the rest is still to be hashed; see `release`."""

    def release(self) -> None:
        """Close the file."""
        self._file.close()


def blocks(path: Path, reading: Reading) -> Generator[bytes]:
    """The unpacked bytes of a file.

    Raises EnoughRead at the end of a look, BrokenOff where a packed file is damaged, and InvalidInput for what is no
    packed file or unpacks without end.
    """
    raw = reading.begin_file(path)
    packing = PACKED.get(path.suffix.lower())
    seen = 0
    for block in _unpacked(raw, path, packing) if packing else _read(raw):
        seen += len(block)
        yield block
        if reading.head_bytes and seen >= reading.head_bytes:
            raise EnoughRead


def _read(stream: Any) -> Iterator[bytes]:
    while block := stream.read(BLOCK):
        yield block


def _unpacked(raw: _CountedFile, path: Path, packing: str) -> Iterator[bytes]:
    most = max(BOMB_BYTES, BOMB_RATIO * path.stat().st_size)
    seen = 0
    stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, mode="r"), packing)
    try:
        for block in _read(stream):
            seen += len(block)
            if seen > most:
                raise InvalidInput(
                    f"{path.name} unpacks to more than {words.size(most)} and is not read further: files that grow so "
                    "much are mostly traps. If it is meant, unpack it first.",
                    field="data.dataset",
                )
            yield block
    except OSError as error:
        if seen == 0:
            raise InvalidInput(
                f"{path.name} cannot be unpacked as {packing}. Check that the upload was whole.", field="data.dataset"
            ) from error
        raise BrokenOff(f"the packed file is damaged or cut off here ({first_line(error)})") from error


def beginning(path: Path, size: int) -> bytes:
    """The first unpacked bytes of a file, at most `size`."""
    found = bytearray()
    look = Reading(head_bytes=size)
    try:
        with (
            closing(blocks(path, look)) as pieces,
            suppress(EnoughRead, BrokenOff),
        ):  # the reader meets the damage again
            for block in pieces:
                found += block
    finally:
        look.end()
    return bytes(found[:size])


def first_line(error: BaseException) -> str:
    """What was wrong in the first place, in one line without its full stop."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
