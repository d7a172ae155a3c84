"""One training, top to bottom: data, model, TRL's SFTTrainer, adapter. Called by the worker with a run's folder.

    python -m studio train recipe.yaml

Reads the recipe in the folder and writes everything that happens there. Knows no database and no page.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import PrinterCallback, set_seed
from transformers.pytorch_utils import Conv1D
from trl import SFTConfig, SFTTrainer

from studio.errors import InvalidInput, StudioError
from studio.ml import adapters, datasets, devices, evaluate, models
from studio.ml.callbacks import Reporter
from studio.ml.devices import Device, Precision
from studio.ml.loss import AnswersOnlyHead
from studio.ml.tokens import Tokens, tokenize
from studio.recipe import AdapterPart, Recipe, read_recipe
from studio.run_folder import RunFolder
from studio.runs import RunStatus
from studio.settings import Settings

VERSIONS_OF = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "bitsandbytes",
    "datasets",
    "accelerate",
    "finetune-studio",
)


@dataclass(frozen=True)
class Rows:
    """Tokenized rows for the trainer, and what truncation does to them."""

    rows: list[Tokens]
    cut: int
    """Rows longer than max_length: their ends are not seen."""
    untrained: int
    """Rows without a single trained token after the cut; they are left out."""


def train(folder: RunFolder, settings: Settings) -> None:
    """Run the recipe in `folder` to its end. Raises StudioError with the sentence for the run's page."""
    recipe = read_recipe(folder.recipe_file)
    device = devices.detect()
    precision = devices.choose_precision(device, recipe.training.dtype)
    set_seed(recipe.training.seed)

    # -- data: rows in tokens, exactly what the model will see
    base, _ = models.resolve(recipe.model, settings)
    tokenizer = models.load_tokenizer(base, recipe.model)
    data = datasets.load(recipe.data, recipe.training.seed)
    train_rows = prepare(tokenizer, data.train, recipe)
    held_rows = prepare(tokenizer, data.held_out, recipe)
    if not train_rows.rows:
        raise InvalidInput(
            f"None of the {len(data.train)} rows has a trained token within max_length "
            f"{recipe.training.max_length}. Raise max_length, or look at the rows on the Data page.",
            field="data.dataset",
        )

    # -- model: the frozen base, asked once before anything is learned
    model = models.load_model(base, recipe.quantization, device, precision)
    models.keep_trainable(model)
    labels = evaluate.labels_of(data.held_out)
    exam = Exam(model, tokenizer, data.held_out, labels)
    folder.add_event(
        "facts",
        versions={name: version(name) for name in VERSIONS_OF} | {"python": platform.python_version()},
        device=device.sentence,
        precision=precision.weights,
        dataset_fingerprint=data.fingerprint,
        dataset_format=data.form.name,
        train_rows=len(train_rows.rows),
        held_out_rows=len(held_rows.rows),
        rows_cut=train_rows.cut,
        rows_untrained=train_rows.untrained,
    )
    before = exam.take()
    folder.add_event("samples", samples=exam.table(before, None))

    # -- training
    reporter = Reporter(folder, device, recipe.training.save_total_limit)
    trainer = AnswersOnlyHead(
        model=model,
        args=sft_config(recipe, device, precision, folder, has_held_out=bool(held_rows.rows)),
        train_dataset=as_dataset(train_rows.rows),
        eval_dataset=as_dataset(held_rows.rows) if held_rows.rows else None,
        processing_class=tokenizer,
        peft_config=lora_config(recipe.adapter, model),
        callbacks=[reporter],
    )
    trainer.remove_callback(PrinterCallback)  # Reporter's lines say the same for people
    _adapter_in_full_precision(trainer.model, precision)
    trainable, total = trainer.model.get_nb_trainable_parameters()
    folder.add_event("facts", trainable_parameters=trainable, total_parameters=total)
    began = time.monotonic()
    trainer.train()
    elapsed = time.monotonic() - began
    if reporter.not_finite:
        raise StudioError(
            f"Training stopped because {reporter.not_finite}: the numbers ran away. Halve the learning rate, or raise "
            "warmup_steps, and start again."
        )

    # -- result: the adapter on disk, and the same questions again
    adapters.save(trainer.model, tokenizer, folder, recipe)
    after = exam.take()
    folder.add_event("samples", samples=exam.table(before, after))
    folder.add_event("result", **_result(trainer, reporter, device, elapsed), **exam.score(before, after))
    folder.add_event("status", status=RunStatus.STOPPED if reporter.stopped else RunStatus.FINISHED)


def prepare(tokenizer: Any, examples: Sequence[Any], recipe: Recipe) -> Rows:
    """Tokenize `examples`, count what max_length cuts, and leave out rows that would teach nothing."""
    limit = recipe.training.max_length
    whole = [tokenize(tokenizer, e, assistant_only_loss=recipe.training.assistant_only_loss) for e in examples]
    seen = [row.cut_at(limit) for row in whole]
    kept = [row for row in seen if row.trained]
    return Rows(kept, sum(len(row.input_ids) > limit for row in whole), len(seen) - len(kept))


def as_dataset(rows: Sequence[Tokens]) -> Dataset:
    """The columns that SFTTrainer takes as already tokenized."""
    return Dataset.from_dict({"input_ids": [row.input_ids for row in rows], "labels": [row.labels for row in rows]})


def lora_config(part: AdapterPart, model: Any) -> LoraConfig:
    """PEFT's settings for `part`. Raises InvalidInput when no layer of `model` has a name that is asked for."""
    targets = part.target_modules
    if not isinstance(targets, str):
        head = model.get_output_embeddings()  # TRL computes the loss from its weight alone
        linear = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear | Conv1D) and m is not head]
        names = {name.rsplit(".", 1)[-1] for name in linear}
        unknown = [name for name in targets if name not in names]
        if unknown:
            raise InvalidInput(
                f"This model has no linear layers called {', '.join(unknown)}. It has: {', '.join(sorted(names))}.",
                field="adapter.target_modules",
            )
    return LoraConfig(
        r=part.r,
        lora_alpha=part.lora_alpha,
        lora_dropout=part.lora_dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )


def sft_config(
    recipe: Recipe, device: Device, precision: Precision, folder: RunFolder, *, has_held_out: bool
) -> SFTConfig:
    """TRL's settings for `recipe`. What differs from TRL's own defaults has its reason beside it."""
    training = recipe.training
    return SFTConfig(
        output_dir=str(folder.checkpoints),
        learning_rate=training.learning_rate,
        max_steps=training.max_steps or -1,
        num_train_epochs=training.num_train_epochs,
        per_device_train_batch_size=training.per_device_train_batch_size,
        per_device_eval_batch_size=max(8, training.per_device_train_batch_size),
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        max_length=training.max_length,
        packing=training.packing,
        eval_packing=False,
        train_sampling_strategy="random" if training.packing else training.train_sampling_strategy,
        lr_scheduler_type=training.lr_scheduler_type,
        warmup_steps=training.warmup_steps,
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        gradient_checkpointing=training.gradient_checkpointing,
        optim=training.optim,
        seed=training.seed,
        bf16=precision.autocast == "bf16",
        fp16=precision.autocast == "fp16",
        use_cpu=device.kind == "cpu",
        eval_strategy="steps" if has_held_out else "no",
        eval_steps=training.eval_steps,
        eval_on_start=has_held_out,  # the curve needs its point before anything was learned
        save_strategy="steps",
        save_steps=training.save_steps,
        save_total_limit=None,  # the Trainer deletes by file time, which a clock change turns around; Reporter does it
        logging_steps=1,
        logging_nan_inf_filter=False,  # the default writes NaN as 0.0, and a diverged run looks perfect
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=device.kind == "cuda",
    )


def _adapter_in_full_precision(model: Any, precision: Precision) -> None:
    """With float16 loss scaling the trained weights must be float32 (TRL makes them bfloat16 for quantized models)."""
    if precision.autocast == "fp16":
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()


def _result(trainer: SFTTrainer, reporter: Reporter, device: Device, elapsed: float) -> dict[str, Any]:
    history = trainer.state.log_history
    losses = [entry["loss"] for entry in history if "loss" in entry]
    held = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    tokens = max((entry.get("num_tokens", 0) for entry in history), default=0)
    return {
        "steps": trainer.state.global_step,
        "loss_first": losses[0] if losses else None,
        "loss_last": sum(losses[-5:]) / len(losses[-5:]) if losses else None,
        "eval_loss_first": held[0] if held else None,
        "eval_loss_last": held[-1] if held else None,
        "elapsed_seconds": elapsed,
        "training_seconds": reporter.training_seconds,
        "num_tokens": tokens,
        "tokens_per_second": tokens / reporter.training_seconds if reporter.training_seconds else None,
        "memory_bytes": devices.peak_memory_bytes(device),
    }


@dataclass
class Exam:
    """The held-out questions, asked before and after."""

    model: Any
    tokenizer: Any
    held_out: list[Any]
    labels: list[str]

    def take(self) -> tuple[evaluate.Accuracy | None, list[str]]:
        """Accuracy (where answers are labels) and answers to read. Training changes the model in place."""
        if not self.held_out:
            return None, []
        with torch.inference_mode():
            score = evaluate.accuracy(self.model, self.tokenizer, self.held_out, self.labels) if self.labels else None
            return score, evaluate.sample_answers(self.model, self.tokenizer, self.held_out)

    def table(self, before: tuple[Any, list[str]], after: tuple[Any, list[str]] | None) -> list[dict[str, Any]]:
        """The answers side by side, for the run's page."""
        rows = evaluate.sample_rows(self.held_out)
        return [
            {
                "prompt": [dict(message) for message in row.prompt],
                "wanted": row.answer,
                "before": before[1][number],
                "after": after[1][number] if after else None,
            }
            for number, row in enumerate(rows)
        ]

    def score(self, before: tuple[Any, list[str]], after: tuple[Any, list[str]]) -> dict[str, Any]:
        """Held-out accuracy before and after, for the run's result; empty where answers are no labels."""
        if before[0] is None or after[0] is None:
            return {}
        return {
            "accuracy_before": before[0].exact,
            "accuracy_after": after[0].exact,
            "named_before": before[0].named,
            "named_after": after[0].named,
            "accuracy_rows": after[0].rows,
        }
