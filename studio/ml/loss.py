"""TRL's SFTTrainer with one change where there is no Triton: the output layer is computed for trained tokens only.

On such devices TRL 1.16 scores every position and then drops those that are not trained (`add_fused_lm_head`,
"compact"). With answers of two tokens after questions of sixty that is most of the work of a small model's largest
matrix. The loss, its normalisation and the metrics stay TRL's own; tests/ml/test_ml_loss.py holds that loss and
gradients agree with TRL's, benchmarks/train_speed.py measures what it brings.
"""

from __future__ import annotations

import functools
import types
from typing import Any

from peft.utils.other import TrainableTokensWrapper
from transformers.utils import is_triton_available
from trl import SFTTrainer
from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE, FusedCausalLMOutput, _ChunkedLogProbFunction

SCALED_LOGITS = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
)
"""Configuration names of models whose logits are not the plain product: they keep TRL's own head."""


class AnswersOnlyHead(SFTTrainer):
    """SFTTrainer; see the module."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        base = self.model.get_base_model()
        answer_for_the_bias(base)
        config = base.config.get_text_config()
        plain = not any(getattr(config, name, None) for name in SCALED_LOGITS) and not self.aux_loss_enabled
        on_triton = is_triton_available() and base.device.type in ("cuda", "xpu")
        if plain and not on_triton:
            score_trained_tokens_only(base)


def answer_for_the_bias(model: Any) -> None:
    """Let the loss ask an output layer with trained token rows for its bias, which is None.

    PEFT's wrapper around such a layer knows its weight alone (with the trained rows in it).
    """
    head = model.get_output_embeddings()
    if isinstance(head, TrainableTokensWrapper):
        head.bias = None


def score_trained_tokens_only(model: Any) -> None:
    """Replace the forward that TRL put on `model` by one whose head sees the trained positions only.

    Without `fused_lm_head=True` (generation, evaluation with logits) the forward is untouched.
    """
    trl_forward = model.forward

    @functools.wraps(type(model).forward)  # generate() checks its arguments against the signature
    def forward(
        self: Any, *args: Any, fused_lm_head: bool = False, labels: Any = None, **kwargs: Any
    ) -> FusedCausalLMOutput:
        if not fused_lm_head:
            return trl_forward(*args, labels=labels, **kwargs)
        kwargs["use_cache"] = False
        hidden_BLD = self.base_model(*args, **kwargs).last_hidden_state[:, :-1]
        next_BL = labels[:, 1:]
        trained_BL = next_BL != -100
        head = self.get_output_embeddings()
        scores = _ChunkedLogProbFunction.apply(
            hidden_BLD[trained_BL],
            head.weight,
            head.bias,
            next_BL[trained_BL],
            1.0,  # temperature
            _CHUNKED_LOGPROB_CHUNK_SIZE,
            None,  # soft-capping
            1.0,  # logit scale
            ("log_probs", "entropy", "is_top1"),
        )
        # masked_scatter keeps the graph whole even if no position of a batch is trained
        log_probs, entropy, is_top1 = (
            score.new_zeros(trained_BL.shape).masked_scatter(trained_BL, score)
            for score in (scores[0], scores[1], scores[4])
        )
        return FusedCausalLMOutput(
            loss=-log_probs.sum() / trained_BL.sum().clamp(min=1),
            log_probs=log_probs,
            entropy=entropy,
            log_sum_sq_probs=None,
            mean_logits=None,
            is_top1=is_top1,
            label_mask=trained_BL,
            aux_loss=None,
        )

    model.forward = types.MethodType(forward, model)
