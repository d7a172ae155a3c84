"""Tokens that a chat template needs and a base model does not know: added, given a row, trained, loaded again.

A new token takes a spare row of the embeddings where there is one, else the embeddings grow. PEFT trains the new rows
alone (`trainable_token_indices`) and keeps them in the adapter; the base model's own rows stay as they are.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AddedToken

from studio.errors import InvalidInput

_ROWS: weakref.WeakKeyDictionary[Any, tuple[int, int]] = weakref.WeakKeyDictionary()
"""(tokens, rows) of tokenizers: reading a large vocabulary takes a tenth of a second, too long for each answer."""


def add(tokenizer: Any, tokens: Sequence[str]) -> None:
    """Let `tokenizer` know `tokens`, each as one special token; those that it knows keep their number."""
    missing = [token for token in tokens if token not in tokenizer.added_tokens_encoder]
    if missing:
        made = [AddedToken(token, special=True, normalized=False) for token in missing]
        tokenizer.add_tokens(made, special_tokens=True)


def begins_by_itself(tokenizer: Any) -> bool:
    """Whether the tokenizer puts its begin token in front of plain text."""
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id


def choose_padding(tokenizer: Any) -> None:
    """Pad with a token that no answer contains: the tokenizer's own, unless it ends a turn, else another special.

    If padding and end of turn were the same token, masking the one would hide the other, and the model would never
    learn to stop (trl#1623).
    """
    tokenizer.pad_token = _pad_token(tokenizer)


def _pad_token(tokenizer: Any) -> str:
    if tokenizer.pad_token and tokenizer.pad_token != tokenizer.eos_token:
        return str(tokenizer.pad_token)
    vocabulary = tokenizer.get_vocab()
    for token in (
        "<pad>",
        "<|pad|>",
        "[PAD]",
        "<|finetune_right_pad_id|>",
        "<|endoftext|>",
        tokenizer.unk_token,
    ):
        if token and token in vocabulary and token not in (tokenizer.eos_token, tokenizer.bos_token):
            return str(token)
    for token in tokenizer.all_special_tokens:
        if token not in (tokenizer.eos_token, tokenizer.bos_token):
            return str(token)
    # Without another special token the collator's masks still keep end-of-turn in the labels: they go by length.
    return str(tokenizer.bos_token or tokenizer.eos_token)


def rows_needed(tokenizer: Any) -> int:
    """How many rows the embeddings must have for every token; a vocabulary with holes has more than tokens."""
    size, rows = _ROWS.get(tokenizer, (0, 0))
    if size != len(tokenizer):
        rows = int(max(tokenizer.get_vocab().values())) + 1
        _ROWS[tokenizer] = (len(tokenizer), rows)
    return rows


def rows_of(model: Any) -> int:
    """How many rows the model's embeddings have."""
    return int(model.config.get_text_config().vocab_size)


def rows_to_train(tokenizer: Any, base: Any, tokens: Sequence[str]) -> list[int]:
    """Numbers of those `tokens` of a template that the base model has not learned.

    `base` is the tokenizer as it came with the model. Where it has no chat template, a reserved token that it knows
    by name was never in a text either.
    """
    known = base.get_vocab() if base.chat_template is not None else {}
    return sorted(tokenizer.convert_tokens_to_ids(token) for token in tokens if token not in known)


def make_room(model: Any, tokenizer: Any) -> None:
    """Grow the embeddings of a base model until each token of `tokenizer` has a row; new rows are the mean of the old.

    With the mean a new token is neither likely nor unlikely, and the same each time the model is loaded.
    """
    needed, before = rows_needed(tokenizer), model.get_input_embeddings().weight.shape[0]
    if needed <= before:
        return
    model.resize_token_embeddings(needed, mean_resizing=False)
    _set_to_mean(model, range(before, needed), before)


def start_at_mean(model: Any, tokens: Sequence[int], base: Any) -> None:
    """Give spare rows that now belong to new tokens a place among the others: they were never trained."""
    known = rows_needed(base)
    _set_to_mean(model, [token for token in tokens if token >= known], known)


def _set_to_mean(model: Any, rows: Sequence[int], known: int) -> None:
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            if layer is not None:
                layer.weight[list(rows)] = layer.weight[:known].float().mean(dim=0).to(layer.weight)


def trainable_indices(model: Any, tokens: Sequence[int]) -> dict[str, list[int]] | None:
    """PEFT's `trainable_token_indices` for `tokens`: in the embedding, and in the output layer if it is one of its own.

    Raises InvalidInput for an output layer with a bias, which PEFT 0.21 would leave out.
    """
    if not tokens:
        return None
    head = model.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        raise InvalidInput(
            "This chat template needs tokens that the model does not know, and the output layer of this model has a "
            "bias, with which new tokens cannot be trained. Choose alpaca or llama-2, which need none.",
            field="model.chat_template",
        )
    layers = [model.get_input_embeddings()]
    if not model.config.get_text_config().tie_word_embeddings:
        layers.append(head)
    names = {id(module): name for name, module in model.named_modules()}
    return {names[id(layer)].rsplit(".", 1)[-1]: list(tokens) for layer in layers}


def settle(model: Any) -> None:
    """Prepare a PEFT model for training the rows: in float32, and every save holds the trained rows only.

    bfloat16, to which TRL turns what is trained on a quantized model, is too coarse for small steps on rows that are
    stored as they are. And when the vocabulary has grown, PEFT would put both whole embedding matrices into each
    checkpoint and adapter; the rows that were added are all trained, so they are in the adapter already.
    """
    for name, parameter in model.named_parameters():
        if "trainable_tokens_delta" in name:
            parameter.data = parameter.data.float()
    model.save_pretrained = functools.partial(model.save_pretrained, save_embedding_layers=False)


def let_others_in(model: Any) -> None:
    """Let adapters without trained rows be loaded beside one that has some, into the same PEFT model.

    PEFT 0.21 looks for rows in every adapter once one of them has wrapped the embeddings (KeyError in
    `set_peft_model_state_dict`); switching between them it does right.
    """
    from peft.utils.other import TrainableTokensWrapper  # costs a second: not for who only reads tokenizers

    for module in model.modules():
        if isinstance(module, TrainableTokensWrapper):
            module.adapter_state_dict_load_map = functools.partial(_rows_in_file, module)


def _rows_in_file(wrapper: Any, adapter: str) -> dict[str, str]:
    if adapter not in wrapper._get_available_adapters():
        return {}
    return dict(type(wrapper).adapter_state_dict_load_map(wrapper, adapter))
