"""The formats whose answer is a label or is judged: classification, preference pairs, kto; and the last guess.

Like `recognisers.py`, whose formats these build on.
"""

from __future__ import annotations

from collections.abc import Mapping

from studio.data.formats.baked import Sureness
from studio.data.formats.column_names import (
    CERTAIN_LABELS,
    CONVERSATIONS,
    LABEL_WORDS,
    LABELLED,
    LABELLED_PAIRS,
    LABELS,
    LONGEST_LABEL,
    PREFERENCES,
    PROMPTS,
    VOTE_VALUES,
    VOTES,
)
from studio.data.formats.mapping import structured, template_of
from studio.data.formats.recognisers import (
    Format,
    alpaca,
    form_of,
    messages,
    prompt_completion,
    question_answer,
    sharegpt,
    system_and_tools,
)
from studio.data.formats.sample import Sample
from studio.recipe_data_fields import Role

LEAST_ROWS = 10
"""With fewer rows, values that differ may still be labels."""


def preference(sample: Sample) -> Format | None:
    """A better and a worse answer."""
    for better_name, worse_name in PREFERENCES:
        better, worse = sample.find(better_name), sample.find(worse_name)
        if better and worse:
            break
    else:
        return None
    mapping = system_and_tools(sample) | _asked(sample)
    mapping |= {"chosen": template_of(better), "rejected": template_of(worse)}
    known: Sureness = "certain" if better_name in ("chosen", "preferred_output") else "likely"
    return form_of(sample, "preference", known, f"there are columns {better} and {worse}", mapping)


def kto(sample: Sample) -> Format | None:
    """An answer and whether it is a good one."""
    vote = next((column for name in VOTES if (column := sample.find(name)) and _is_vote(sample, column)), None)
    if vote is None:
        return None
    form = prompt_completion(sample) or question_answer(sample) or alpaca(sample)
    if form is None or form.sureness == "guess":
        form = messages(sample) or sharegpt(sample)
    if form is None:
        return None
    mapping = form.mapping | {"label": template_of(vote)}
    sureness: Sureness = "certain" if sample.true_or_false(vote) else "likely"
    return form_of(sample, "kto", sureness, f"{form.reason}, and {vote} holds true or false", mapping)


def classification(sample: Sample) -> Format | None:
    """A text and its label."""
    label = sample.find(*LABELS)
    words = sample.find(*LABEL_WORDS)
    text, read = _labelled_text(sample)
    if text is None or not (label or words) or read in (label, words):
        return None
    shown = words or label
    assert shown is not None
    certain = words is not None or shown.lower() in CERTAIN_LABELS
    if not _is_label(sample, shown) or not (certain or _recurs(sample, shown)):
        return None
    names = sample.label_names.get(label or "", ()) if words is None else ()
    sureness: Sureness = "certain" if certain else "likely"
    reason = f"the text in {read} has its label in {shown}"
    if sample.kind(shown) in ("number", "list") and not names:
        sureness, reason = "likely", f"{reason}, whose numbers have no names: the number itself is the answer"
    mapping: dict[Role, str] = {"text": text, "label": template_of(shown)}
    return form_of(sample, "classification", sureness, reason, mapping, names)


def two_texts(sample: Sample) -> Format | None:
    """A guess: exactly two columns of text, the first the question and the second the answer (or the label)."""
    if (column := sample.find("translation")) and sample.kind(column) == "named values":
        return _translation(sample, column)
    if len(sample.wordy_columns) != 2:
        return None
    first, second = sample.wordy_columns
    if len(sample.rows) >= LEAST_ROWS and _recurs(sample, second) and _is_label(sample, second):
        reason = f"{second} holds few different words, so it may be the label of {first}"
        labels: dict[Role, str] = {"text": template_of(first), "label": template_of(second)}
        return form_of(sample, "classification", "guess", reason, labels)
    reason = f"there are two columns of text, so {first} may be the question and {second} the answer"
    pair: dict[Role, str] = {"prompt": template_of(first), "completion": template_of(second)}
    return form_of(sample, "question/answer", "guess", reason, pair)


def _translation(sample: Sample, column: str) -> Format | None:
    """A guess: named values, the text of the first language is the question and of the second the answer."""
    named = next((value for value in sample.values(column) if isinstance(value, Mapping)), {})
    languages = [key for key in named if key.replace("-", "_").isidentifier()]
    if len(languages) < 2:
        return None
    first, second = languages[:2]
    reason = f"{column} holds texts in {first} and {second}, the second may be the answer"
    pair: dict[Role, str] = {"prompt": f"{{{column}.{first}}}", "completion": f"{{{column}.{second}}}"}
    return form_of(sample, "question/answer", "guess", reason, pair)


def _asked(sample: Sample) -> dict[Role, str]:
    """Where a preference pair keeps its prompt, if it does so outside of the answers."""
    column = sample.find(*PROMPTS)
    if column is None:
        column = sample.find(*CONVERSATIONS)
        is_turns = column is not None and sample.kind(column) in ("turns", "texts")
        return {"messages": template_of(column)} if column and is_turns else {}
    nested = structured(next(iter(sample.values(column)), None))
    if isinstance(nested, Mapping) and "messages" in nested:  # as OpenAI's preference files keep it
        tools: dict[Role, str] = {"tools": f"{{{column}.tools}}"} if "tools" in nested else {}
        return {"messages": f"{{{column}.messages}}", **tools}
    return {"prompt": template_of(column)}


def _is_vote(sample: Sample, column: str) -> bool:
    """Whether the column tells good answers from bad ones."""
    texts = {str(value).strip().lower() for value in sample.values(column)}
    return bool(texts) and texts <= VOTE_VALUES


def _labelled_text(sample: Sample) -> tuple[str | None, str]:
    """(template of the text that is labelled, its column for people); (None, "") if there is none."""
    for one, other in LABELLED_PAIRS:
        first, second = sample.find(one), sample.find(other)
        if first and second:
            return f"{{{first}}}\n\n{{{second}}}", f"{first}, {second}"
    column = sample.find(*LABELLED)
    if column is None or sample.kind(column) != "text":
        return None, ""
    return template_of(column), column


def _is_label(sample: Sample, column: str) -> bool:
    """Whether the column's values can be labels: short words, numbers, true and false, or lists of those."""
    values = [entry for value in sample.values(column) for entry in (value if isinstance(value, list) else [value])]
    return bool(values) and all(not isinstance(value, Mapping) and len(str(value)) <= LONGEST_LABEL for value in values)


def _recurs(sample: Sample, column: str) -> bool:
    """Whether the column holds few different values, as labels do."""
    values = [str(value) for value in sample.values(column)]
    return len(values) < LEAST_ROWS or len(set(values)) <= len(values) // 3
