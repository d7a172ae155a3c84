"""The fields of a recipe, part by part, with their units, limits and words.

The docstring under each field is the help that the pages show: its first sentence (at most 90 characters) beside the
field, the rest on demand. Field names are TRL's and PEFT's own where those libraries have one. What is learned from:
recipe_data_fields.py. Knows no library of models; `ml/` turns a recipe into their arguments.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

STARTER_MODEL = "starter"
"""Name in a recipe for the model that comes with the studio (SmolLM2-135M-Instruct)."""

STARTER_PREFIX = "starter:"
"""A dataset `starter:NAME` is the one of that name in assets/datasets/."""


def unit(unit: str) -> dict[str, Any]:
    """Where a field says in what it is counted."""
    return {"unit": unit}


ChatTemplate = Literal["own", "chatml", "llama-3", "llama-2", "mistral", "gemma", "alpaca", "custom"]


class RecipePart(BaseModel):
    """What all parts share: frozen, no unknown names, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class ModelPart(RecipePart):
    """Which base model learns."""

    base_model: str = Field(STARTER_MODEL, min_length=1, max_length=500)
    """The model to start from: the starter model, a folder, or a name on the Hugging Face Hub.

    Only safetensors (or GGUF) weights are read; code that comes with a model is never run.
    """
    revision: str | None = Field(None, max_length=100)
    """Branch, tag or commit of a Hub model; empty takes the newest.

    A commit makes the run repeatable; a branch may have moved by tomorrow.
    """
    chat_template: ChatTemplate = "own"
    """How a conversation is written for the model: its own template, or one of these.

    A model must be asked in the form it was trained with. A base model without a template learns the chosen one here;
    it is saved with the adapter, so that chat and export use the same. custom takes chat_template_jinja.
    """
    chat_template_jinja: str = Field("", max_length=100_000)
    """Your own chat template, in transformers' Jinja; used when chat_template is custom."""


class QuantizationPart(RecipePart):
    """How the frozen base model is stored while the adapter trains."""

    method: Literal["none", "int8", "nf4"] = "none"
    """How the frozen base model is stored while training: full precision, 8-bit or 4-bit.

    nf4 is QLoRA: about a quarter of the memory for a small loss of precision, slower on a CPU. Take it when the model
    does not fit otherwise. int8 lies between the two.
    """
    bnb_4bit_use_double_quant: bool = True
    """Quantize the quantization constants too: saves about 0.4 bit a parameter. Only for nf4.

    From the QLoRA paper; it costs a little time and no measurable quality.
    """


class AdapterPart(RecipePart):
    """The small set of new weights that is trained: LoRA."""

    r: int = Field(16, ge=1, le=512)
    """Rank of the LoRA matrices: how much the adapter can learn.

    4 to 16 for a style or a classification, 32 to 128 for new knowledge. Too high costs memory and memorises.
    """
    lora_alpha: int = Field(32, ge=1, le=4096)
    """Strength of the adapter: it is added to the base model times lora_alpha / r.

    Twice r is a common choice. Raising it works much like raising the learning rate.
    """
    lora_dropout: float = Field(0.0, ge=0.0, le=0.9, json_schema_extra=unit("of the inputs"))
    """Share of adapter inputs dropped at random in training, against memorising.

    0 is fastest: on a CPU the random mask took a quarter of each step (measured). Try 0.05 on small data.
    """
    target_modules: str | tuple[str, ...] = "all-linear"
    """Which layers get an adapter: all-linear, or names such as q_proj, v_proj.

    All linear layers learn best for their size (QLoRA paper). Attention alone (q_proj, v_proj) is smaller and weaker.
    """

    @field_validator("target_modules", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        """Names typed as one text become a list: PEFT would read the text as a regular expression."""
        if isinstance(value, str):
            names = tuple(value.replace(",", " ").split())
            value = "all-linear" if names == ("all-linear",) else names
        if isinstance(value, list | tuple) and not value:
            raise ValueError("must name at least one layer, or be all-linear")
        return value


Scheduler = Literal["linear", "cosine", "constant", "constant_with_warmup", "inverse_sqrt", "polynomial"]


class TrainingPart(RecipePart):
    """How it learns."""

    learning_rate: float = Field(1e-3, gt=0, le=1.0, json_schema_extra=unit("per step"))
    """Size of each step. LoRA likes about ten times that of full fine-tuning.

    1e-4 to 2e-4 suits models of billions of parameters, up to 1e-3 small ones. Too high: the loss jumps or becomes NaN.
    Too low: nothing changes.
    """
    max_steps: int = Field(100, ge=0, le=1_000_000, json_schema_extra=unit("steps"))
    """Optimizer steps to train; 0 trains whole epochs instead.

    One step learns from batch size x accumulation rows. Too few: little changes. Too many: it memorises, and the
    held-out loss rises.
    """
    num_train_epochs: Annotated[float, Field(gt=0, le=1000)] = Field(3.0, json_schema_extra=unit("epochs"))
    """How often every row is seen; used when max_steps is 0.

    1 to 3 is usual. Small data bears more, until the held-out loss rises.
    """
    per_device_train_batch_size: int = Field(8, ge=1, le=1024, json_schema_extra=unit("rows"))
    """Rows computed at once. Halve it when memory is short.

    Larger is smoother and faster on a GPU until memory is full. Keep batch size x accumulation the same when you halve.
    """
    gradient_accumulation_steps: int = Field(1, ge=1, le=1024, json_schema_extra=unit("batches"))
    """Batches added up before one step: a larger batch without more memory.

    2 with half the batch size gives the same result as 1 with the whole, somewhat slower.
    """
    max_length: int = Field(512, ge=16, le=1_048_576, json_schema_extra=unit("tokens"))
    """Longest row in tokens; what is beyond is cut.

    A cut answer teaches the model to stop in the middle or never. Memory grows with it.
    """
    packing: bool = False
    """Put several short rows into one sequence, so that no time is spent on padding.

    Saves time with rows of very different lengths. On a CPU grouping rows by length does nearly as well.
    """
    train_sampling_strategy: Literal["group_by_length", "random"] = "group_by_length"
    """Order of the rows: similar lengths together (less padding), or purely at random.

    Grouping made training 1.5 times faster on a CPU (measured, alpaca-like rows) with a loss curve that agrees.
    """
    assistant_only_loss: bool = True
    """Learn from the answers only, not from the questions.

    Off, the model also learns to write questions. Plain text without roles is always learned whole.
    """
    completion_only_loss: bool = False
    """Learn from the last answer of each conversation only.

    For conversations whose earlier answers are not worth imitating. Needs assistant_only_loss.
    """
    lr_scheduler_type: Scheduler = "cosine"
    """How the learning rate falls over the run.

    cosine and linear end near zero, which settles the result. constant keeps it, for runs that will be continued.
    """
    warmup_steps: int = Field(5, ge=0, le=100_000, json_schema_extra=unit("steps"))
    """Steps in which the learning rate rises from zero.

    Avoids a jump at the start. About 5 % of the run.
    """
    weight_decay: float = Field(0.0, ge=0.0, le=1.0, json_schema_extra=unit("per step"))
    """Pulls the adapter's weights towards zero at each step.

    0 to 0.1; against memorising, rarely needed for LoRA.
    """
    max_grad_norm: float = Field(1.0, gt=0, le=1000)
    """Longest step allowed: gradients above are scaled down.

    1.0 is usual; it saves a run from one odd row.
    """
    gradient_checkpointing: bool = False
    """Forget intermediate results and compute them again: less memory, about 30 % slower.

    Turn it on when the forecast does not fit. It changes no result.
    """
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Number format for computing; auto takes the best that this device has.

    bfloat16 where it is fast, float16 on older GPUs such as the T4, float32 elsewhere.
    """
    seed: int = Field(42, ge=0, le=2**32 - 1)
    """Start of all randomness: the same seed repeats the same run on the same machine."""
    eval_steps: int = Field(20, ge=1, le=100_000, json_schema_extra=unit("steps"))
    """Steps between two measurements of the held-out loss.

    Each measurement takes a moment; the curve needs a handful of points.
    """
    save_steps: int = Field(50, ge=1, le=100_000, json_schema_extra=unit("steps"))
    """Steps between two checkpoints on disk.

    Each holds the adapter and the optimizer, about three times the adapter's size.
    """
    save_total_limit: int = Field(2, ge=1, le=1000, json_schema_extra=unit("checkpoints"))
    """How many checkpoints are kept, the newest ones."""
    optim: Literal["adamw_torch_fused", "adamw_torch", "adamw_8bit", "paged_adamw_8bit", "sgd", "adafactor"] = (
        "adamw_torch_fused"
    )
    """The rule that turns gradients into steps.

    AdamW is right nearly always. The 8-bit kinds save memory on a GPU.
    """
