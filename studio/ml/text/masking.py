"""Where the answers stand in a rendered conversation: exact, or refused with a sentence, never guessed.

Three ways, the first that holds for a row is taken:

1. {% generation %} marks in the chat template, or in TRL's training variant of it where that writes the same text.
2. Prefixes: the conversation up to an answer, as the model is given it to continue, must begin the whole text.
3. The same for the last answer alone, if only that is trained.

The result is one and the same whichever way found it: from the place where the model begins to speak to the end of its
end-of-turn mark, without the line break behind that. Knows strings; not tokens.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from studio.errors import InvalidInput
from studio.messages import Example, Message
from studio.ml.text.templates import WRONG_IN_A_TEMPLATE

Span = tuple[int, int]

_QUESTION: Message = {"role": "user", "content": "Question"}
_ANSWER: Message = {"role": "assistant", "content": "Answer"}


class Writer:
    """One tokenizer's way of writing conversations; made anew where its template or its tokens may have changed."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.words = dict(tokenizer.special_tokens_map)
        self.eos = str(tokenizer.eos_token)

    def template(self, example: Example) -> str:
        """The Jinja text for this row: some models have one of their own for rows with tools."""
        return self._template_with_tools if example.tools else self._template

    @functools.cached_property
    def _template(self) -> str:
        return str(self._tokenizer.get_chat_template())

    @functools.cached_property
    def _template_with_tools(self) -> str:
        return str(self._tokenizer.get_chat_template(tools=[{}]))

    def text(self, example: Example, messages: Sequence[Message], *, for_answer: bool = False) -> str:
        """The conversation as one text; `for_answer` ends it where the model is to speak."""
        return self._render(self.template(example), example, messages, add_generation_prompt=for_answer)[0]

    def _render(
        self, template: str, example: Example, messages: Sequence[Message], **options: bool
    ) -> tuple[str, list[Span]]:
        try:
            texts, spans = render_jinja_template(
                [messages],
                tools=list(example.tools) or None,
                chat_template=template,
                **options,
                **self.words,
            )
        except (TemplateError, *WRONG_IN_A_TEMPLATE) as error:
            raise InvalidInput(
                f"The model's chat template refuses these turns: {str(error).rstrip('.')}.", field="data.dataset"
            ) from error
        return texts[0], spans[0] if spans else []

    def marked(self, template: str, example: Example) -> tuple[str, list[Span]]:
        """The text, and the stretches of it that stand between {% generation %} marks."""
        return self._render(template, example, example.messages, return_assistant_tokens_mask=True)

    @functools.cached_property
    def speaks_after(self) -> str:
        """What the template writes to have the model speak: "<|im_start|>assistant\\n". May lack its beginning."""
        example = Example((_QUESTION,))
        try:
            asked, whole = self.text(example, [_QUESTION], for_answer=True), self.text(example, [_QUESTION])
        except InvalidInput:
            return ""
        alike = next((n for n, (a, b) in enumerate(zip(asked, whole, strict=False)) if a != b), len(whole))
        return asked[alike:]

    @functools.cached_property
    def end_of_turn(self) -> str:
        """The special token with which the template ends an answer; empty if it writes none."""
        turns = [_QUESTION, _ANSWER]
        try:
            _, found, behind = self.text(Example(tuple(turns)), turns).rpartition("Answer")
        except InvalidInput:
            return ""
        special = [str(token) for token in self._tokenizer.added_tokens_decoder.values() if token.special]
        written = re.match(rf"(?:\s*(?:{'|'.join(map(re.escape, special))}))*", behind) if special and found else None
        marks = re.findall("|".join(map(re.escape, special)), written.group()) if written else []
        if len(marks) > 1 and marks[-1] == self.eos:
            marks.pop()  # it ends the whole conversation, behind the mark that ends the turn
        return str(marks[-1]) if marks else ""

    @functools.cached_property
    def ends(self) -> tuple[str, ...]:
        """The tokens that end an answer."""
        return (self.end_of_turn, self.eos) if self.end_of_turn not in ("", self.eos) else (self.eos,)

    def closed(self, text: str) -> str:
        """`text` with an end mark behind the last answer: a template without one would teach never to stop."""
        if text.rstrip().endswith(self.ends):
            return text
        return text.rstrip("\n") + self.eos

    def end_in(self, text: str, start: int, stop: int) -> int:
        """Where the answer that begins at `start` ends: behind its mark, without line breaks and without the token
        with which some templates end the whole conversation besides."""
        answer = text[start:stop].rstrip()
        if len(self.ends) > 1 and answer.endswith(self.eos):
            shorter = answer[: -len(self.eos)].rstrip()
            answer = shorter if shorter.endswith(self.end_of_turn) else answer
        if not answer.endswith(self.ends):
            behind = text[stop:].lstrip()
            for end in self.ends:
                if behind.startswith(end):
                    return len(text) - len(behind) + len(end)
        return start + len(answer)


def answers_in(writer: Writer, example: Example, text: str, *, last_only: bool) -> list[Span]:
    """Where in `text`, the whole conversation, each answer stands. Raises InvalidInput where that is not certain."""
    wanted = [number for number, message in enumerate(example.messages) if message["role"] == "assistant"]
    if not wanted:
        return []
    marked = _marked(writer, example, text, len(wanted))
    if marked:
        return marked[-1:] if last_only else marked
    spans = [_by_prefix(writer, example, text, number) for number in (wanted[-1:] if last_only else wanted)]
    if None not in spans:
        return [span for span in spans if span is not None]
    advice = "Turn off assistant_only_loss to train the whole conversation."
    if not last_only and spans[-1] is not None:
        advice = "Train the last answer only (completion_only_loss), or turn off assistant_only_loss."
    raise InvalidInput(
        "The model's chat template writes a conversation differently once an answer follows, so the answer's place is "
        f"not certain. {advice}",
        field="training.assistant_only_loss",
    )


def masking_of(tokenizer: Any) -> str:
    """How the answers of this tokenizer's conversations are told from the rest, for people."""
    if tokenizer.chat_template is None:
        return "There is no chat template, so there are no answers to tell apart."
    writer = Writer(tokenizer)
    two = Example((_QUESTION, _ANSWER, {**_QUESTION, "content": "Second"}, {**_ANSWER, "content": "Then"}))
    try:
        text = writer.closed(writer.text(two, two.messages))
        check_written(two, text)
        if _marked(writer, two, text, 2):
            own = _has_marks(writer.template(two))
            return (
                f"{'The chat template itself' if own else 'TRL’s training variant of the chat template'} marks answers."
            )
        if _by_prefix(writer, two, text, 1) is not None:
            return "Each conversation is written up to each answer; what follows is trained, up to its end mark."
        if _by_prefix(writer, two, text, 3) is not None:
            return (
                "This chat template rewrites earlier answers, so only rows with one answer can be trained on answers "
                "alone; for others turn on completion_only_loss."
            )
    except InvalidInput as error:
        return str(error)
    return "Answers cannot be told apart with this chat template; turn off assistant_only_loss."


def _has_marks(template: str) -> bool:
    return re.search(r"\{%[-+]?\s*generation\s*[-+]?%\}", template) is not None


def _marked(writer: Writer, example: Example, text: str, answers: int) -> list[Span]:
    """The answers by {% generation %} marks, one span each; empty where the marks do not fit this row."""
    template = writer.template(example)
    if not _has_marks(template):
        variant = _training_variants().get(template)
        if variant is None:
            return []
        template = variant
    try:
        rendered, marks = writer.marked(template, example)
    except InvalidInput:
        return []  # TRL's variant refuses what the model's own template writes: the next way is tried
    if not text.startswith(rendered.rstrip("\n")):
        return []
    touching: list[Span] = []
    for start, stop in marks:
        if touching and touching[-1][1] == start:
            touching[-1] = (touching[-1][0], stop)
        elif stop > start:
            touching.append((start, stop))
    spans = [_as_spoken(writer, text, span) for span in touching]
    said = [message["content"].strip() for message in example.messages if message["role"] == "assistant"]
    fits = len(spans) == answers and all(
        words in text[start:stop] for words, (start, stop) in zip(said, spans, strict=True)
    )
    return spans if fits else []


def _as_spoken(writer: Writer, text: str, span: Span) -> Span:
    """The span from where the model begins to speak: some marks take in the end of the turn's head."""
    start, stop = span
    head = writer.speaks_after
    at = text.find(head, max(0, start - len(head)), start + len(head)) if head else -1
    if 0 <= at <= start <= at + len(head) <= stop:
        start = at + len(head)
    return start, writer.end_in(text, start, stop)


def _by_prefix(writer: Writer, example: Example, text: str, number: int) -> Span | None:
    """Where message `number` stands, if the conversation before it and through it both begin `text`."""
    messages = example.messages
    before = writer.text(example, messages[:number], for_answer=True)
    if not text.startswith(before):
        return None
    if number == len(messages) - 1:
        return len(before), writer.end_in(text, len(before), len(text))
    through = writer.text(example, messages[: number + 1])
    stop = writer.end_in(through, len(before), len(through))
    if not text.startswith(through[:stop]):
        return None
    return len(before), writer.end_in(text, len(before), stop)


def check_written(example: Example, text: str) -> None:
    """Raise InvalidInput if the template leaves out the last answer, functions, calls or their results.

    Templates skip in silence what they do not know: those of picture models a text that is no list of parts, most
    others tools. Reasoning before </think> may be left out; many templates do that on purpose.
    """
    answers = [m["content"].rpartition("</think>")[2] for m in example.messages if m["role"] == "assistant"]
    if answers and answers[-1].strip() not in text:
        raise InvalidInput(
            "The model's chat template does not write the answer as it is, so the model would not see it. Choose "
            "another chat template on the Model page, such as ChatML.",
            field="model.chat_template",
        )
    if not example.tools and not any("tool_calls" in m or m["role"] == "tool" for m in example.messages):
        return
    wanted: dict[str, list[str]] = {
        "the functions (tools)": [_name(tool) for tool in example.tools],
        "calls to functions": [_name(call) for message in example.messages for call in message.get("tool_calls", ())],
        "what functions returned": [m["content"].strip() for m in example.messages if m["role"] == "tool"],
    }
    lost = [what for what, words in wanted.items() if not all(word in text for word in words)]
    if lost:
        raise InvalidInput(
            f"The model's chat template does not write {' or '.join(lost)}, so the model would not see them. Choose "
            "ChatML as the chat template on the Model page, which does.",
            field="model.chat_template",
        )


def _name(function: Mapping[str, Any]) -> str:
    """The name in a function's schema or in a call, with or without the envelope around it."""
    inner = function.get("function", function)
    return str(inner.get("name", "")) if isinstance(inner, Mapping) else ""


@functools.cache
def _training_variants() -> dict[str, str]:
    """TRL's training variants by the template that each replaces, read from its folder: importing TRL costs seconds."""
    found = importlib.util.find_spec("trl")
    assert found is not None
    assert found.submodule_search_locations is not None
    folder = Path(next(iter(found.submodule_search_locations))) / "chat_templates"
    pairs = ((folder / file.name.replace("_training", ""), file) for file in sorted(folder.glob("*_training.jinja")))
    return {plain.read_text(encoding="utf-8"): file.read_text(encoding="utf-8") for plain, file in pairs}
