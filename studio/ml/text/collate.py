"""Rows into the tensors of a batch: the one collator of training and preview.

It is TRL's, set up as SFTTrainer does it. To pack rows SFTTrainer refuses to be handed a collator and makes this same
one; tests/test_preview_equals_training.py holds that both are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from studio.ml.text.tokens import Tokens

if TYPE_CHECKING:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling


def collator_for(tokenizer: Any, *, packing: bool = False) -> DataCollatorForLanguageModeling:
    """Pads on the right with labels of -100; when packing, rows stand in one sequence, told apart by position ids."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling  # costs seconds: not for who only tokenizes

    return DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id, padding_free=packing)


def seen_by_trainer(tokenizer: Any, rows: Sequence[Tokens], max_length: int) -> list[Tokens]:
    """What the model is given of `rows` and asked to learn: cut, collated one by one, and read back."""
    collator = collator_for(tokenizer)
    seen = []
    for row in rows:
        cut = row.cut_at(max_length)
        batch = collator([{"input_ids": cut.input_ids, "labels": cut.labels}])
        (ids,), (labels,) = batch["input_ids"].tolist(), batch["labels"].tolist()
        seen.append(Tokens(ids, labels, cut.answer_ends, cut.ends_trained, cut.begins_twice))
    return seen
