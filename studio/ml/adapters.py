"""A trained adapter on disk: PEFT's layout with tokenizer, chat template and a model card."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from studio.ml.starter import HUB_ID
from studio.ml.text import special_tokens
from studio.recipe import STARTER_MODEL, Recipe
from studio.run_folder import RunFolder

_CARD = """---
base_model: {base_model}
library_name: {library}
pipeline_tag: text-generation
tags: [lora, sft, trl, finetune-studio]
---

# {name}

{what} `{base_model}`, trained with Finetune Studio on `{dataset}`.

```python
{code}
```

The tokenizer in this folder carries the chat template that was used in training; ask the model through it.

## Recipe

```yaml
{recipe}```
"""

_ADAPTER_CODE = """from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH_OF_THIS_FOLDER")
model = AutoModelForCausalLM.from_pretrained("{base_model}", dtype="{dtype}"){grow}
model = PeftModel.from_pretrained(model, "PATH_OF_THIS_FOLDER")
model.generation_config.eos_token_id = tokenizer.eos_token_id"""

_GROW = """
if model.get_input_embeddings().num_embeddings < {rows}:
    model.resize_token_embeddings({rows})  # the adapter brings tokens of its own"""

_MERGED_CODE = """from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH_OF_THIS_FOLDER")
model = AutoModelForCausalLM.from_pretrained("PATH_OF_THIS_FOLDER", dtype="{dtype}")"""


def save(model: Any, tokenizer: Any, folder: RunFolder, recipe: Recipe) -> None:
    """Write the adapter of `model` to `folder.adapter`, whole or not at all."""
    beside = folder.path / "adapter.tmp"
    if beside.exists():
        shutil.rmtree(beside)
    model.save_pretrained(beside)
    tokenizer.save_pretrained(beside)
    config_file = beside / "adapter_config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    # PEFT notes the folder that the model was loaded from: a path of this machine, useless elsewhere.
    config["base_model_name_or_path"] = _base_model(recipe)
    config["revision"] = recipe.model.revision
    grown = special_tokens.rows_needed(tokenizer) if config.get("trainable_token_indices") else 0
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    (beside / "README.md").write_text(card(folder, recipe, model.dtype, merged=False, grown=grown), encoding="utf-8")
    (beside / "training_args.bin").unlink(missing_ok=True)
    if folder.adapter.exists():
        shutil.rmtree(folder.adapter)
    beside.rename(folder.adapter)


def card(folder: RunFolder, recipe: Recipe, dtype: Any, *, merged: bool, grown: int = 0) -> str:
    """The model card of the run's adapter, or of the model that the adapter was merged into.

    `grown` is the number of embedding rows that an adapter with trained tokens needs.
    """
    base_model, dataset = _base_model(recipe), _public_name(recipe.data.dataset)
    code = _MERGED_CODE if merged else _ADAPTER_CODE.replace("{grow}", _GROW.format(rows=grown) if grown else "")
    return _CARD.format(
        base_model=base_model,
        library="transformers" if merged else "peft",
        name=folder.identity()["name"],
        what="Merged LoRA fine-tuning of" if merged else "A LoRA adapter for",
        dataset=dataset,
        code=code.format(base_model=base_model, dtype=str(dtype).removeprefix("torch.")),
        recipe=recipe.changed(**{"model.base_model": base_model, "data.dataset": dataset}).to_yaml(),
    )


def _base_model(recipe: Recipe) -> str:
    """The base model's name for others."""
    return HUB_ID if recipe.model.base_model == STARTER_MODEL else _public_name(recipe.model.base_model)


def _public_name(name: str) -> str:
    """`name`, or the last part of a path: the rest means nothing elsewhere and tells about this machine."""
    path = Path(os.path.expanduser(name))
    return path.name if path.is_absolute() or path.exists() else name
