"""From bytes to lines of UTF-8: finding out the encoding, recoding, and cutting where a line ends.

Knows nothing of rows. One line of at most LONGEST_LINE bytes is all that is in memory.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.data.files.byte_stream import Reading, beginning, blocks
from studio.data.files.rows import EXCERPT_CHARACTERS
from studio.errors import InvalidInput

Numbered = tuple[int, dict[str, Any]]
"""What readers yield: (line of the file, or the row's number where there are no lines; its values)."""

SAMPLE = 1 << 18
"""Bytes from which encoding and delimiter are found out."""
LONGEST_LINE = 64 << 20

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16's mark, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OLDER = "cp1252 cp1250 cp1251 cp1253 cp1254 cp1255 cp1256 cp932 gb18030 big5 euc_kr euc_jp koi8_r".split()
_WESTERN = re.compile(r"[\x00-\x7fäöüßÄÖÜéèêëÉÈÊàâáãåÀÂÁÃÅæÆçÇñÑíìîïÍÎóòôõøÓÔÕØœŒúùûÚÙÛ–—“”‘’„«»°§€£·…©®™´¿¡\xa0]*")


class NotUtf8(Exception):
    """A file that began as UTF-8 turned out to be in an older encoding: read it again in that."""

    def __init__(self, path: Path, encoding: str) -> None:
        super().__init__(f"{path.name} is {encoding}")
        self.path = path
        self.encoding = encoding


class Overlong(bytes):
    """The beginning of a line that is too long to be kept."""


class Text:
    """One file as text: its sample, its encoding, its lines; it notices when it is not the UTF-8 it seemed to be."""

    def __init__(self, path: Path, reading: Reading, least_lines: int) -> None:
        """`least_lines` in an older encoding are what it takes to believe that the file is in one."""
        self.path = path
        self._reading = reading
        raw = beginning(path, SAMPLE)
        self.encoding = _encoding(path, raw, reading, least_lines)
        self.sample = b"".join(_as_utf8(iter([raw]), self.encoding)).decode(errors="replace")
        self._newline = b"\r" if "\r" in self.sample and "\n" not in self.sample else b"\n"
        self._watch = _Watch(least_lines) if reading.encoding == "auto" and self.encoding == "utf-8" else None

    def blocks(self) -> Iterator[bytes]:
        """Blocks of UTF-8 without a byte order mark; bytes that mean nothing make them invalid."""
        return _as_utf8(blocks(self.path, self._reading), self.encoding)

    def lines(self) -> Iterator[bytes]:
        """The lines without their ends; what is too long comes as Overlong."""
        return _lines(self.blocks(), self._newline)

    def is_utf8(self, line: bytes) -> bool:
        """Whether the line is valid; raises NotUtf8 when too many are not."""
        valid = _is_utf8(line)
        if self._watch and not line.isascii():
            self._watch.see(line, valid)
            if self._watch.broken == 1000:
                self.check()
        return valid

    def check(self) -> None:
        """Call this at the end. Raises NotUtf8 when the lines that are not UTF-8 are more than broken ones."""
        older = self._watch.older_encoding() if self._watch else None
        if older:
            raise NotUtf8(self.path, older)


def excerpt(text: str | bytes) -> str:
    """The beginning of a bad row, in one line."""
    decoded = text if isinstance(text, str) else text[: 4 * EXCERPT_CHARACTERS].decode(errors="replace")
    return " ".join(decoded[: 4 * EXCERPT_CHARACTERS].split())[:EXCERPT_CHARACTERS]


# -- encoding -------------------------------------------------------------------------------------------------


def _encoding(path: Path, raw: bytes, reading: Reading, least_lines: int) -> str:
    """The encoding to read `path` with: the recipe's, or what its beginning looks like."""
    found = reading.encoding
    if found == "auto":
        found = reading.encodings.get(path) or find_encoding(raw, least_lines)
    try:
        codec = codecs.lookup(found)
    except LookupError as error:
        raise InvalidInput(
            f"There is no encoding called {found}. Common ones are utf-8, utf-16, cp1252, shift_jis and gb18030; auto "
            "finds it out.",
            field="data.encoding",
        ) from error
    if not codec._is_text_encoding:  # hex, zip and the like
        raise InvalidInput(f"{found} does not turn bytes into letters. Take auto or utf-8.", field="data.encoding")
    name = "utf-8" if codec.name == "utf-8-sig" else codec.name
    reading.found_encoding = reading.found_encoding or name
    return name


def find_encoding(raw: bytes, least_lines: int) -> str:
    """UTF-8 unless a byte order mark, zero bytes, or at least `least_lines` lines speak against it."""
    for mark, name in _MARKS:
        if raw.startswith(mark):
            return name
    even, odd = raw[0::2].count(0), raw[1::2].count(0)
    if max(even, odd) > len(raw) // 8 and min(even, odd) < max(even, odd) // 4:
        return "utf-16-be" if even > odd else "utf-16-le"
    watch = _Watch(least_lines)
    complete = raw.split(b"\n") if len(raw) < SAMPLE else raw.split(b"\n")[:-1]
    for line in complete:
        if not line.isascii():
            watch.see(line, _is_utf8(line))
    return watch.older_encoding() or "utf-8"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Watch:
    """Counts lines with foreign letters, valid and broken, to tell an older encoding from a few broken bytes."""

    def __init__(self, least_lines: int) -> None:
        self.least_lines = least_lines
        self.valid = 0
        self.broken = 0
        self._broken_lines = bytearray()

    def see(self, line: bytes, valid: bool) -> None:
        """Count a line that is not plain ASCII."""
        if valid:
            self.valid += 1
            return
        self.broken += 1
        if len(self._broken_lines) < SAMPLE:
            self._broken_lines += line[:SAMPLE] + b"\n"

    def older_encoding(self) -> str | None:
        """The encoding that explains the broken lines; None if they are just broken."""
        if self.broken < self.least_lines or self.broken <= self.valid:
            return None
        return _older_encoding(bytes(self._broken_lines))


def _older_encoding(text: bytes) -> str | None:
    """Western Windows if that gives Western letters (statistics mislead on short texts), else by statistics."""
    western = text.decode("cp1252", errors="replace")
    letters = [letter for letter in western if letter.isalpha()]
    accents = sum(not letter.isascii() for letter in letters)
    if _WESTERN.fullmatch(western) and (accents <= 0.4 * len(letters) or len(letters) < 10):
        return "cp1252"
    import charset_normalizer  # few files need it

    best = charset_normalizer.from_bytes(text, cp_isolation=_OLDER).best()
    return best.encoding if best else None


# -- lines ----------------------------------------------------------------------------------------------------


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    """Half a character in place of bytes that mean nothing: the line is no UTF-8 then, and its row is told as bad."""
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end


codecs.register_error("studio-mark", _mark_undecodable)


def _as_utf8(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    first = True
    for block in pieces if encoding == "utf-8" else _recoded(pieces, encoding):
        yield block.removeprefix(codecs.BOM_UTF8) if first else block
        first = False


def _recoded(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("studio-mark")
    for block in pieces:
        yield decoder.decode(block).encode("utf-8", "surrogatepass")
    yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")


def _lines(pieces: Iterator[bytes], newline: bytes) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for block in pieces:
        *whole, rest = block.split(newline)
        for line in whole:
            if held:
                yield _joined(held, size, line)
                held, size = [], 0
            else:
                yield line
        if rest:
            size += len(rest)
            if size <= LONGEST_LINE:
                held.append(rest)
            else:  # the beginning is enough to show
                held = [(held or [rest])[0][:400]]
    if held:
        yield _joined(held, size, b"")


def _joined(held: list[bytes], size: int, end: bytes) -> bytes:
    if size + len(end) > LONGEST_LINE:
        return Overlong(held[0][:400])
    held.append(end)
    return b"".join(held)
