"""From an example to the tokens the model sees, and which of them are trained.

The one code path for training and for the pictures of it. Where the answers are: masking.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.errors import InvalidInput
from studio.messages import Example, Message
from studio.ml.text.masking import Span, Writer, answers_in, check_written

IGNORED = -100
"""Label of a token that is not trained (PyTorch's cross entropy skips it)."""

ROWS_AT_ONCE = 1000
"""Texts that the tokenizer's Rust side gets in one call: enough to keep it busy, few enough for memory."""


@dataclass(frozen=True)
class Tokens:
    """One row for the trainer: `labels[i]` is `input_ids[i]` where it is trained, else -100."""

    input_ids: list[int]
    labels: list[int]
    answer_ends: tuple[int, ...] = ()
    """The place just behind each trained answer and its end mark; one for a row that is trained whole."""
    ends_trained: bool = True
    """Whether every trained answer ends with a token that says so. Otherwise the model does not learn to stop."""
    begins_twice: bool = False
    """Whether the row begins with two begin tokens, which no model has seen."""

    @property
    def trained(self) -> int:
        """Number of trained tokens."""
        return sum(label != IGNORED for label in self.labels)

    def cut_at(self, max_length: int) -> Tokens:
        """What is left after truncation, as the trainer does it: from the end."""
        if len(self.input_ids) <= max_length:
            return self
        return Tokens(
            self.input_ids[:max_length],
            self.labels[:max_length],
            tuple(end for end in self.answer_ends if end <= max_length),
            self.ends_trained,
            self.begins_twice,
        )


def render(
    tokenizer: Any, messages: Sequence[Message], *, tools: Sequence[dict[str, Any]] = (), for_answer: bool = False
) -> str:
    """The conversation as one text; `for_answer` ends it where the model is to speak.

    Raises InvalidInput if there is no template or the template refuses these turns.
    """
    _check_template(tokenizer)
    return Writer(tokenizer).text(Example(tools=tuple(tools)), messages, for_answer=for_answer)


def end_ids(tokenizer: Any) -> list[int]:
    """The tokens at which an answer is over: the tokenizer's end, and that of a turn in its chat template."""
    ends = [tokenizer.eos_token] if tokenizer.chat_template is None else sorted(Writer(tokenizer).ends)
    return sorted({int(tokenizer.convert_tokens_to_ids(end)) for end in ends})


def tokenize(
    tokenizer: Any, example: Example, *, assistant_only_loss: bool = True, completion_only_loss: bool = False
) -> Tokens:
    """The tokens of one example, not yet cut. Raises InvalidInput where it cannot be trained as asked.

    A conversation trains its answers with the token that ends each, only the last one with `completion_only_loss`, or
    everything if both are off. Plain text trains whole, with the end token added and no second begin token.
    """
    (made,) = tokenize_many(
        tokenizer, [example], assistant_only_loss=assistant_only_loss, completion_only_loss=completion_only_loss
    )
    if isinstance(made, InvalidInput):
        raise made
    return made


def tokenize_many(
    tokenizer: Any,
    examples: Sequence[Example],
    *,
    assistant_only_loss: bool = True,
    completion_only_loss: bool = False,
) -> list[Tokens | InvalidInput]:
    """`tokenize` for many rows at once, which is several times faster; a row's problem stands in its place."""
    writer = Writer(tokenizer)
    made: list[Tokens | InvalidInput] = []
    for start in range(0, len(examples), ROWS_AT_ONCE):
        planned: list[_Row | InvalidInput] = []
        for example in examples[start : start + ROWS_AT_ONCE]:
            try:
                planned.append(_plan(tokenizer, writer, example, assistant_only_loss, completion_only_loss))
            except InvalidInput as problem:
                planned.append(problem)
        made += _encode(tokenizer, planned)
    return made


@dataclass(frozen=True)
class _Row:
    """A row as text: what is left to do is the tokenizer's."""

    text: str
    spans: list[Span] | None
    """Where the trained answers are; None trains everything."""
    plain: bool
    """No conversation but a text, which begins and ends as the tokenizer has it."""
    add_begin: bool = False


def _check_template(tokenizer: Any) -> None:
    if tokenizer.chat_template is None:
        raise InvalidInput(
            "This model has no chat template, so it does not say how a conversation is written. Choose ChatML as the "
            "chat template on the Model page; it is then trained and saved with the adapter.",
            field="model.chat_template",
        )


def _plan(tokenizer: Any, writer: Writer, example: Example, answers_only: bool, last_only: bool) -> _Row:
    if example.text is not None:
        text = example.text
        if text.rstrip().endswith(writer.eos):
            text = text.rstrip()  # the end is marked already; a line break behind it would earn it a second mark
        has_begin = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
        return _Row(text, None, plain=True, add_begin=not has_begin)
    _check_template(tokenizer)
    text = writer.closed(writer.text(example, example.messages))
    check_written(example, text)
    spans = answers_in(writer, example, text, last_only=last_only) if answers_only or last_only else None
    return _Row(text, spans, plain=False)


def _encode(tokenizer: Any, rows: Sequence[_Row | InvalidInput]) -> list[Tokens | InvalidInput]:
    """The tokens of planned rows; texts that get a begin token go to the tokenizer separately."""
    backend = tokenizer.backend_tokenizer
    if backend.truncation is not None:  # left by whoever called the tokenizer; not asked in vain, since another
        backend.no_truncation()  # thread that is encoding makes a change fail
    if backend.padding is not None:
        backend.no_padding()
    encoded: dict[int, Any] = {}
    for add_begin in (False, True):
        chosen = {n: row.text for n, row in enumerate(rows) if isinstance(row, _Row) and row.add_begin == add_begin}
        if chosen:
            many = backend.encode_batch(list(chosen.values()), add_special_tokens=add_begin)
            encoded |= zip(chosen, many, strict=True)
    ends = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    ends.add(tokenizer.eos_token_id)
    done: list[Tokens | InvalidInput] = []
    for place, row in enumerate(rows):
        try:
            done.append(row if isinstance(row, InvalidInput) else _tokens(tokenizer, row, encoded[place], ends))
        except InvalidInput as problem:
            done.append(problem)
    return done


def _tokens(tokenizer: Any, row: _Row, encoding: Any, ends: set[int]) -> Tokens:
    ids: list[int] = encoding.ids
    begin = tokenizer.bos_token_id
    twice = begin is not None and ids[:2] == [begin, begin]
    if row.plain:
        if not ids or ids[-1] != tokenizer.eos_token_id:
            ids = [*ids, tokenizer.eos_token_id]
        return Tokens(ids, list(ids), (len(ids),), begins_twice=twice)
    spans = [(0, len(row.text.rstrip()))] if row.spans is None else row.spans
    places = [_token_range(encoding, span) for span in spans]
    labels = list(ids) if row.spans is None else [IGNORED] * len(ids)
    for first, behind in places:
        labels[first:behind] = ids[first:behind]
    return Tokens(
        ids,
        labels,
        tuple(behind for _, behind in places),
        all(behind > 0 and ids[behind - 1] in ends for _, behind in places),
        twice,
    )


def _token_range(encoding: Any, span: Span) -> Span:
    """The tokens that hold the characters of `span`. Raises InvalidInput if the first of them begins before it."""
    start, stop = span
    if stop <= start:
        return 0, 0
    first, behind = encoding.char_to_token(start), encoding.char_to_token(stop - 1)
    if first is None or behind is None:  # characters that the tokenizer leaves out, such as blanks at an end
        inside = [n for n, (a, b) in enumerate(encoding.offsets) if a < stop and b > start]
        if not inside:
            return 0, 0
        first, behind = inside[0], inside[-1]
    offsets = encoding.offsets if _shared(encoding, behind) else None
    while offsets and behind + 1 < len(offsets) and offsets[behind + 1][0] < stop:
        behind += 1  # a letter of several bytes may be several tokens
    if encoding.token_to_chars(first)[0] < start:
        raise InvalidInput(
            "One token holds the end of the question and the start of the answer, so the answer cannot be trained "
            "alone with this template. Turn off assistant_only_loss.",
            field="training.assistant_only_loss",
        )
    return first, behind + 1


def _shared(encoding: Any, token: int) -> bool:
    """Whether the next token holds a part of the same letter."""
    following = encoding.token_to_chars(token + 1) if token + 1 < len(encoding) else None
    return following is not None and following[0] < encoding.token_to_chars(token)[1]
