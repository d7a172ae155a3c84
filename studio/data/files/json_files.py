"""JSON lines and JSON documents as numbered rows.

    {"a": 1}           JSON lines: one object a line; a broken line is one bad row
    [{"a": 1}, ...]    an array of objects
    {"a": [1, ...]}    columns: arrays of one length
    {"data": [{...}]}  an object that holds an array of objects; several arrays: the one called like the split

NaN and Infinity, which JSON does not know but pandas writes, become null: they stand for a value that is missing.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from studio import words
from studio.data.files.byte_stream import Reading
from studio.data.files.rows import BadRow
from studio.data.files.text_lines import LONGEST_LINE, Numbered, Overlong, Text, excerpt
from studio.errors import InvalidInput

LEAST_OLDER_LINES = 3
"""JSON is UTF-8 by its standard: one or two lines that are not are broken, from three on the file may be older."""
LARGEST_OBJECT = LONGEST_LINE
"""A document that is one object is held in memory up to this size."""

_PARTS = ("train", "test", "validation")
_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


def read_json(path: Path, reading: Reading) -> Iterator[Numbered | BadRow]:
    """The rows of a .jsonl or .json file, whichever of the forms above it holds."""
    text = Text(path, reading, LEAST_OLDER_LINES)
    first, _, rest = text.sample.lstrip().partition("\n")
    if _is_document(first, rest, reading.kind == "json"):
        yield from _read_document(_JsonText(text), reading)
    else:
        reading.kind = "jsonl"
        yield from _read_lines(text)
    text.check()


def _is_document(first: str, rest: str, called_json: bool) -> bool:
    """Whether a file that begins with this line is one JSON text rather than a line each."""
    if not first.startswith(("[", "{")):
        return called_json
    try:
        value = orjson.loads(first)
    except orjson.JSONDecodeError:
        # A document over many lines, a document on one long line, or a file of lines whose first is broken
        return first.startswith("[") or called_json
    if isinstance(value, list):
        return not rest.strip() and (called_json or all(isinstance(row, dict) for row in value))
    return called_json and not rest.strip()


# -- lines ----------------------------------------------------------------------------------------------------


def _read_lines(text: Text) -> Iterator[Numbered | BadRow]:
    loads = orjson.loads
    for number, line in enumerate(text.lines(), start=1):
        if not line.isascii() and not text.is_utf8(line):
            yield BadRow(text.path.name, number, _not_utf8(line), excerpt(line))
            continue
        try:
            values = loads(line)
        except orjson.JSONDecodeError as error:
            if not line or line.isspace():
                continue
            found = _second_look(line, error)
            if isinstance(found, str):
                yield BadRow(text.path.name, number, found, excerpt(line))
                continue
            values = found
        if type(values) is dict:
            yield number, values
        else:
            yield BadRow(text.path.name, number, _no_object(values), excerpt(line))


def _second_look(line: bytes, error: orjson.JSONDecodeError) -> Any:
    """What is wrong with a line that orjson refuses, as a str; its value if it is only NaN or Infinity."""
    if isinstance(line, Overlong):
        return f"the line is longer than {LONGEST_LINE >> 20} MB"
    if b"NaN" in line or b"Infinity" in line:
        try:
            return json.loads(line, parse_constant=lambda _: None)
        except (json.JSONDecodeError, RecursionError):
            return _reason(error)
    return _reason(error)


def _reason(error: json.JSONDecodeError) -> str:
    """Plain words for the JSON errors that people meet."""
    if "depth" in error.msg:
        return "it is nested more than 1,024 levels deep"
    if "end of data" in error.msg:
        return "it is no valid JSON: it breaks off at the end of the line"
    return f"it is no valid JSON: {error.msg[:1].lower()}{error.msg[1:]} (column {error.colno:,})"


def _not_utf8(line: bytes) -> str:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1:,} of the line is no valid UTF-8"
    raise AssertionError("the line is valid")


def _no_object(value: object) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return f"it is {kinds.get(type(value), 'a number')}, not an object with named values"


# -- documents ------------------------------------------------------------------------------------------------


class _Broken(Exception):
    """The document is no JSON from some place on; `str(error)` says why and where."""


class _JsonText:
    """A long JSON text, of which a piece is in memory: look at the next character, take the next value."""

    def __init__(self, text: Text) -> None:
        self.path = text.path
        self._pieces = text.blocks()
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode  # dumping such text fails later
        self._buffer = ""
        self._at = 0
        self._lines_before = 0
        self._ended = False

    def more(self) -> bool:
        """Read as much again as is waiting, at least a block; whether there was any more."""
        self._lines_before += self._buffer.count("\n", 0, self._at)
        waiting = [self._buffer[self._at :]]
        wanted = len(waiting[0])
        self._at = 0
        while not self._ended:
            block = next(self._pieces, None)
            self._ended = block is None
            waiting.append(self._decode(block or b"", final=self._ended))
            wanted -= len(waiting[-1])
            if wanted < 0:
                break
        self._buffer = "".join(waiting)
        return len(waiting[0]) < len(self._buffer)

    def fits(self, size: int) -> bool:
        """Read on until `size` characters wait; whether the whole rest is in memory now."""
        while not self._ended and len(self._buffer) - self._at <= size:
            self.more()
        return self._ended

    def peek(self) -> str:
        """The next character that is no blank, without taking it; "" at the end."""
        while True:
            while self._at < len(self._buffer):
                character = self._buffer[self._at]
                if character not in " \t\r\n":
                    return character
                self._at += 1
            if not self.more():
                return ""

    def take(self, character: str) -> None:
        """Take the next character, which must be this one."""
        found = self.peek()
        if found != character:
            raise self.broken(f"a {character} is missing" if found else "it breaks off")
        self._at += 1

    def value(self) -> Any:
        """Take the next value."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                broken = self.broken(error.msg[:1].lower() + error.msg[1:], error.pos - self._at)
                if self._is_certain(error) or not self.more():
                    raise broken from error
                continue
            except RecursionError as error:
                raise self.broken("it is nested too deeply") from error
            if end < len(self._buffer) or not self.more():
                self._at = end
                return value

    def _is_certain(self, error: json.JSONDecodeError) -> bool:
        """Whether more text would not mend the error: it lies before the end of what is in memory."""
        if len(self._buffer) - self._at > LONGEST_LINE:
            return True
        return not error.msg.startswith("Unterminated string") and error.pos < len(self._buffer) - 20

    def broken(self, what: str, ahead: int = 0) -> _Broken:
        """The error to raise for what stands so many characters ahead."""
        line = self._lines_before + self._buffer.count("\n", 0, self._at + ahead) + 1
        return _Broken(f"it is no valid JSON: {what} (line {line:,} of the file)")


def _read_document(text: _JsonText, reading: Reading) -> Iterator[Numbered | BadRow]:
    reading.kind = "json"
    number = 0
    try:
        for number, value in enumerate(_values(text, reading), start=1):
            if type(value) is dict:
                yield number, value
            else:
                yield BadRow(text.path.name, number, _no_object(value), excerpt(str(value)[:400]))
    except _Broken as error:
        if number == 0:
            raise InvalidInput(
                f"{text.path.name} cannot be read as JSON: {error}. Open it in an editor and look there.",
                field="data.dataset",
            ) from error
        yield BadRow(text.path.name, number + 1, f"{error}; what follows it was not read")


def _values(text: _JsonText, reading: Reading) -> Iterator[Any]:
    if text.peek() == "[":
        text.take("[")
        yield from _array(text)
    elif text.peek() != "{":
        raise text.broken("it begins with neither [ nor {") if text.peek() else _Broken("it is blank")
    elif text.fits(LARGEST_OBJECT):
        document = text.value()
        yield from _rows_of(document, text.path, reading.split) if not text.peek() else [document]
        while text.peek():  # objects over several lines, one after the other
            yield text.value()
    else:
        yield from _large_object(text, reading.split)


def _array(text: _JsonText) -> Iterator[Any]:
    """The values of an array whose bracket was taken."""
    while text.peek() != "]":
        yield text.value()
        if text.peek() != "]":
            text.take(",")
    text.take("]")


def _rows_of(document: dict[str, Any], path: Path, split: str) -> list[Any]:
    """The rows of a document that is one object."""
    arrays = {name: value for name, value in document.items() if isinstance(value, list)}
    of_objects = [name for name, value in arrays.items() if value and all(isinstance(row, dict) for row in value)]
    lengths = {len(value) for value in arrays.values()}
    if split in of_objects or document.keys() == {split}:
        return list(arrays.get(split, []))
    if len(of_objects) == 1 and (len(document) == 1 or len(arrays) < len(document) or len(lengths) > 1):
        return list(arrays[of_objects[0]])
    if arrays and len(arrays) == len(document) and len(lengths) == 1:
        return [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]
    if len(of_objects) > 1:
        raise InvalidInput(
            f"{path.name} holds several parts: {', '.join(of_objects)}. Say in the field split which one to train on.",
            field="data.split",
        )
    indexed = list(document.values())
    if all(isinstance(value, dict) and value and value.keys() == indexed[0].keys() for value in indexed):
        if all(key.isdigit() for key in indexed[0]):  # what pandas' to_json writes
            return [{name: document[name][key] for name in document} for key in indexed[0]]
    return [document]


def _large_object(text: _JsonText, split: str) -> Iterator[Any]:
    """The rows of an object too large for memory: its first array of objects, or the one called like the split."""
    text.take("{")
    while text.peek() != "}":
        name = text.value()
        text.take(":")
        if text.peek() != "[":
            text.value()
        else:
            text.take("[")
            if text.peek() == "{" and (name == split or name not in _PARTS):
                yield from _array(text)
                return
            for _ in _array(text):
                continue
        if text.peek() != "}":
            text.take(",")
    raise InvalidInput(
        f"{text.path.name} is one JSON object of more than {words.size(LARGEST_OBJECT)} without a list of rows; "
        "columns of that size are not read. Save it as JSON lines or parquet.",
        field="data.dataset",
    )
