"""The starter datasets in assets/datasets: what each is, for the Data page; where it lies, for whoever reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "assets" / "datasets"


@dataclass(frozen=True)
class StarterSet:
    """One starter dataset; `starter:{name}` in a recipe."""

    name: str
    title: str
    sentence: str

    @property
    def folder(self) -> Path:
        """Where its train.jsonl and heldout.jsonl lie."""
        return FOLDER / self.name


SETS = (
    StarterSet("sentiment", "Sentiment", "340 sentences to call positive or negative. Shows learning as a number."),
    StarterSet("lighthouse", "Lighthouse keeper", "160 answers in one old sailor's voice. Teaches a style."),
    StarterSet("llama2-text", "Llama-2 text", "100 plain texts in the Llama-2 format. Trained as they are."),
)
"""What the page offers. `preferences` waits in the same folder for training on pairs."""
