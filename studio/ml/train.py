"""One training, top to bottom: data, model, TRL's SFTTrainer, adapter. Called by the worker with a run's folder.

    python -m studio train recipe.yaml

Reads the recipe in the folder and writes everything that happens there. Knows no database and no page.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import PrinterCallback, set_seed
from transformers.pytorch_utils import Conv1D
from trl import SFTConfig, SFTTrainer

from studio.data import dataset
from studio.errors import InvalidInput, StudioError
from studio.ml import adapters, devices, evaluate, loading, models
from studio.ml.callbacks import Reporter
from studio.ml.devices import Device, Precision
from studio.ml.exam import Exam, askable
from studio.ml.loss import AnswersOnlyHead
from studio.ml.prepare import prepare
from studio.ml.text import special_tokens
from studio.ml.text.collate import collator_for
from studio.ml.text.templates import template_used
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


def train(folder: RunFolder, settings: Settings) -> None:
    """Run the recipe in `folder` to its end. Raises StudioError with the sentence for the run's page."""
    with tempfile.TemporaryDirectory(dir=folder.path, prefix="tokens-") as tokens:
        _train(folder, settings, Path(tokens))


def _train(folder: RunFolder, settings: Settings, tokens: Path) -> None:
    """The same; the tokenized rows lie in `tokens` meanwhile."""
    recipe = read_recipe(folder.recipe_file)
    device = devices.detect()
    precision = devices.choose_precision(device, recipe.training.dtype)
    set_seed(recipe.training.seed)

    # -- data: rows in tokens, exactly what the model will see
    base, _ = models.resolve(recipe.model, settings)
    data = dataset.load(recipe, settings)
    dataset.refuse_bad_rows(data, recipe.data)
    tokenizer = models.load_tokenizer_for(base, recipe.model, data.form.template, data.sample)
    train_rows = prepare(tokenizer, data.train.parts, recipe, tokens / "train.arrow")
    held_rows = prepare(tokenizer, [data.held_out], recipe, tokens / "heldout.arrow")
    if not len(train_rows.rows):
        raise InvalidInput(
            f"None of the {len(data.train)} rows has a trained token within max_length "
            f"{recipe.training.max_length}. Raise max_length, or look at the rows on the Data page.",
            field="data.dataset",
        )

    # -- model: the frozen base, asked once before anything is learned
    model = loading.load_model(base, recipe.quantization, device, precision)
    loading.keep_trainable(model)
    new_tokens = loading.learn_tokens(model, tokenizer, base, recipe.model)
    template = template_used(tokenizer, recipe.model, data.form.template)
    questions = askable(tokenizer, data.held_out)
    exam = Exam(model, tokenizer, questions, evaluate.labels_of(questions))
    folder.add_event(
        "facts",
        versions={name: version(name) for name in VERSIONS_OF} | {"python": platform.python_version()},
        device=device.sentence,
        precision=precision.weights,
        dataset_fingerprint=data.fingerprint,
        dataset_format=data.form.name,
        chat_template=template.name,
        chat_template_from=template.source,
        train_rows=len(train_rows.rows),
        held_out_rows=len(held_rows.rows),
        rows_cut=train_rows.cut,
        rows_untrained=train_rows.untrained,
        rows_over_long=train_rows.over_long,
        rows_not_rendered=train_rows.not_rendered,
        rows_unreadable=data.store.facts.bad_rows + data.sifted.unreadable,
        cleaning=[asdict(step) for step in data.steps],
    )
    before = exam.take()
    folder.add_event("samples", samples=exam.table(before, None))

    # -- training
    reporter = Reporter(folder, device, recipe.training.save_total_limit)
    trainer = AnswersOnlyHead(
        model=model,
        args=sft_config(recipe, device, precision, folder, has_held_out=len(held_rows.rows) > 0),
        train_dataset=train_rows.rows,
        eval_dataset=held_rows.rows if len(held_rows.rows) else None,
        processing_class=tokenizer,
        data_collator=None if recipe.training.packing else collator_for(tokenizer),  # TRL insists on its own to pack
        peft_config=lora_config(recipe.adapter, model, new_tokens),
        callbacks=[reporter],
    )
    trainer.remove_callback(PrinterCallback)  # Reporter's lines say the same for people
    _adapter_in_full_precision(trainer.model, precision)
    special_tokens.settle(trainer.model)
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


def lora_config(part: AdapterPart, model: Any, new_tokens: Sequence[int] = ()) -> LoraConfig:
    """PEFT's settings for `part`, which train the rows of `new_tokens` besides.

    Raises InvalidInput when no layer of `model` has a name that is asked for.
    """
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
        trainable_token_indices=special_tokens.trainable_indices(model, new_tokens),
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
