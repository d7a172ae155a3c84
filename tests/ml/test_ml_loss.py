"""The output layer for trained tokens only: the same numbers as TRL's own, for less work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import LlamaForCausalLM
from trl import SFTConfig, SFTTrainer
from trl.trainer.utils import _ChunkedLogProbFunction

from studio.ml import loss
from studio.ml.loss import AnswersOnlyHead

TRAINED = [[0, 0, 0, 0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 1, 1], [0, 1, 1, 1, 1, 1, 1, 1, 1]]


def rows(trained: list[list[int]] = TRAINED) -> dict[str, list[list[int]]]:
    """Rows of made-up tokens; a 1 in `trained` is a token to learn."""
    ids = torch.randint(3, 259, (len(trained), len(trained[0])), generator=torch.Generator().manual_seed(7)).tolist()
    labels = [[t if yes else -100 for t, yes in zip(*row, strict=True)] for row in zip(ids, trained, strict=True)]
    return {"input_ids": ids, "labels": labels}


def batch(trained: list[list[int]]) -> dict[str, torch.Tensor]:
    """The same rows as the collator's tensors."""
    tensors = {name: torch.tensor(value) for name, value in rows(trained).items()}
    return {**tensors, "attention_mask": torch.ones_like(tensors["input_ids"])}


def trainer_of(kind: type[SFTTrainer], toy: Path, tokenizer: Any, output: Path, **values: Any) -> SFTTrainer:
    """A trainer of `kind` on a fresh float32 toy model, with the same random adapter each time."""
    torch.manual_seed(0)
    model = LlamaForCausalLM.from_pretrained(toy, dtype=torch.float32)
    for name, value in values.pop("config", {}).items():
        setattr(model.config, name, value)
    arguments: dict[str, Any] = {
        "learning_rate": 0.01,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
    }
    return kind(
        model=model,
        args=SFTConfig(str(output), **{**arguments, **values}),
        train_dataset=Dataset.from_dict(rows(TRAINED * 6)),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"),
    )


def loss_and_gradients(trainer: SFTTrainer, trained: list[list[int]]) -> tuple[float, dict[str, torch.Tensor]]:
    """What one backward pass over `trained` gives."""
    trainer.model.train()
    value = trainer.compute_loss(trainer.model, batch(trained))
    value.backward()
    return value.item(), {n: p.grad for n, p in trainer.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "trained",
    [TRAINED, [TRAINED[0], [0] * 9], [[1] * 9] * 2, [[0] * 9, [0] * 8 + [1]]],
    ids=["answers", "a row without an answer", "everything", "one token in all"],
)
def test_loss_and_gradients_are_trls(trained: list[list[int]], toy_model: Path, tokenizer: Any, tmp_path: Path) -> None:
    theirs, their_gradients = loss_and_gradients(trainer_of(SFTTrainer, toy_model, tokenizer, tmp_path), trained)
    ours, our_gradients = loss_and_gradients(trainer_of(AnswersOnlyHead, toy_model, tokenizer, tmp_path), trained)

    assert ours == pytest.approx(theirs, rel=1e-5)
    assert ours > 1
    assert our_gradients.keys() == their_gradients.keys()
    assert len(our_gradients) == 2 * 7 * 2  # A and B of seven layers in each of two blocks
    for name, gradient in our_gradients.items():
        assert gradient.abs().sum() > 0
        largest = their_gradients[name].abs().max().item()
        torch.testing.assert_close(gradient, their_gradients[name], rtol=1e-5, atol=1e-5 * largest)


def test_a_batch_without_any_answer_is_a_loss_of_zero(toy_model: Path, tokenizer: Any, tmp_path: Path) -> None:
    value, gradients = loss_and_gradients(trainer_of(AnswersOnlyHead, toy_model, tokenizer, tmp_path), [[0] * 9])

    assert value == 0.0
    assert all(not gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_whole_training_has_the_same_curve(
    accumulation: int, toy_model: Path, tokenizer: Any, tmp_path: Path
) -> None:
    curves = []
    for kind in (SFTTrainer, AnswersOnlyHead):
        trainer = trainer_of(
            kind,
            toy_model,
            tokenizer,
            tmp_path,
            max_steps=6,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=accumulation,
        )
        trainer.train()
        names = ("loss", "grad_norm", "mean_token_accuracy", "entropy")
        curves.append([entry[name] for entry in trainer.state.log_history if "loss" in entry for name in names])

    assert len(curves[0]) == 6 * 4
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)


def test_the_head_sees_the_trained_positions_alone(
    toy_model: Path, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []

    class Recording(_ChunkedLogProbFunction):
        @staticmethod
        def forward(ctx: Any, hidden: torch.Tensor, *rest: Any) -> Any:
            scored.append(len(hidden))
            return _ChunkedLogProbFunction.forward(ctx, hidden, *rest)

    trainer = trainer_of(AnswersOnlyHead, toy_model, tokenizer, tmp_path)
    monkeypatch.setattr(loss, "_ChunkedLogProbFunction", Recording)
    loss_and_gradients(trainer, TRAINED)

    assert scored == [sum(map(sum, TRAINED))]


def test_a_model_that_scales_its_scores_keeps_trls_head(toy_model: Path, tokenizer: Any, tmp_path: Path) -> None:
    scaled = {"config": {"final_logit_softcapping": 0.5}}
    plain, _ = loss_and_gradients(trainer_of(SFTTrainer, toy_model, tokenizer, tmp_path), TRAINED)
    theirs, _ = loss_and_gradients(trainer_of(SFTTrainer, toy_model, tokenizer, tmp_path, **scaled), TRAINED)
    ours, _ = loss_and_gradients(trainer_of(AnswersOnlyHead, toy_model, tokenizer, tmp_path, **scaled), TRAINED)

    assert ours == pytest.approx(theirs, rel=1e-5)
    assert ours != pytest.approx(plain, rel=1e-5)


def test_generation_is_untouched(toy_model: Path, tokenizer: Any, tmp_path: Path) -> None:
    prompt = torch.tensor([tokenizer("Hello")["input_ids"]])
    answers = [
        trainer_of(kind, toy_model, tokenizer, tmp_path).model.generate(
            input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12, do_sample=False
        )
        for kind in (SFTTrainer, AnswersOnlyHead)
    ]

    assert answers[0].shape == (1, prompt.shape[1] + 12)
    assert answers[1].equal(answers[0])


def test_scores_for_every_position_are_there_for_whoever_asks(toy_model: Path, tokenizer: Any, tmp_path: Path) -> None:
    model = trainer_of(AnswersOnlyHead, toy_model, tokenizer, tmp_path).model

    with torch.no_grad():
        output = model(**batch(TRAINED))

    assert output.logits.shape == (3, 9, 259)
    assert output.loss.item() > 1
