"""A trained adapter on disk: PEFT's layout with tokenizer, chat template and a model card."""

from __future__ import annotations

import json
import shutil
from typing import Any

from studio.ml.starter import HUB_ID
from studio.recipe import STARTER_MODEL, Recipe
from studio.run_folder import RunFolder

_CARD = """---
base_model: {base_model}
library_name: peft
pipeline_tag: text-generation
tags: [lora, sft, trl, finetune-studio]
---

# {name}

A LoRA adapter for `{base_model}`, trained with Finetune Studio on `{dataset}`.

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH_OF_THIS_FOLDER")
model = AutoModelForCausalLM.from_pretrained("{base_model}", dtype="{dtype}")
model = PeftModel.from_pretrained(model, "PATH_OF_THIS_FOLDER")
```

The tokenizer in this folder carries the chat template that was used in training; ask the model through it.

## Recipe

```yaml
{recipe}```
"""


def save(model: Any, tokenizer: Any, folder: RunFolder, recipe: Recipe) -> None:
    """Write the adapter of `model` to `folder.adapter`, whole or not at all."""
    beside = folder.path / "adapter.tmp"
    if beside.exists():
        shutil.rmtree(beside)
    model.save_pretrained(beside)
    tokenizer.save_pretrained(beside)
    base_model = HUB_ID if recipe.model.base_model == STARTER_MODEL else recipe.model.base_model
    config_file = beside / "adapter_config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    # PEFT notes the folder that the model was loaded from: a path of this machine, useless elsewhere.
    config["base_model_name_or_path"] = base_model
    config["revision"] = recipe.model.revision
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    (beside / "README.md").write_text(
        _CARD.format(
            base_model=base_model,
            name=folder.identity()["name"],
            dataset=recipe.data.dataset,
            dtype=str(model.dtype).removeprefix("torch."),
            recipe=recipe.to_yaml(),
        ),
        encoding="utf-8",
    )
    (beside / "training_args.bin").unlink(missing_ok=True)
    if folder.adapter.exists():
        shutil.rmtree(folder.adapter)
    beside.rename(folder.adapter)
