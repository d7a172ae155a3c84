"""Datasets of the Hugging Face Hub as numbered rows: data files only, `datasets` refuses loading scripts.

The token is the one that `hf auth login` stored. Pictures and sounds
are not decoded. `datasets` keeps what it fetched in its own cache, so that it is there without the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from studio.data.files.byte_stream import Reading, first_line
from studio.data.files.hub_errors import OFFLINE, told_in_sentences
from studio.data.files.rows import BadRow
from studio.data.files.table_files import BATCH, label_names, numbered
from studio.data.files.text_lines import Numbered
from studio.errors import InvalidInput, Unavailable
from studio.recipe import DataSource

ANSWER_SECONDS = 10.0


def find_commit(name: str, revision: str | None) -> str:
    """The commit that a dataset is at; "" without the network, when only the cache of `datasets` can help.

    Raises NotFound, Refused (gated) or InvalidInput.
    """
    import httpx2 as httpx  # what huggingface_hub 2 speaks with, so these are the errors it raises
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    with _told(name):
        try:
            info = HfApi().dataset_info(name, revision=revision, timeout=ANSWER_SECONDS)
            if info.gated:
                HfApi().auth_check(name, repo_type="dataset")
        except (OfflineModeIsEnabled, httpx.TransportError):
            return ""
    return str(info.sha)


def read_hub(part: DataSource, commit: str, reading: Reading) -> Iterator[Numbered | BadRow]:
    """The rows of a dataset on the Hub, all of the split and slice; what it is goes to `reading`."""
    table = _load(part, commit, split=part.split)
    reading.label_names.update(label_names(table.features.to_dict()))
    reading.digest = _KnownFingerprint(str(table._fingerprint))
    size = table.dataset_size or table.data.nbytes
    reading.total_bytes = size
    batches = table.with_format("arrow").iter(batch_size=BATCH)
    for place, row in enumerate(numbered(part.dataset, batches)):
        if place % BATCH == 0:
            reading.tell(int(size * place / len(table)))
        yield row


def read_hub_beginning(part: DataSource, commit: str, reading: Reading) -> Iterator[Numbered | BadRow]:
    """The first rows of a split, fetching no more than they need; from the cache without the network."""
    if not commit:
        yield from read_hub(part, commit, reading)
        return
    stream = _load(part, commit, split=reading.split, streaming=True)
    reading.label_names.update(label_names(stream.features.to_dict() if stream.features else {}))
    with _told(part.dataset):
        yield from numbered(part.dataset, stream.with_format("arrow").iter(batch_size=50))


class _KnownFingerprint:
    """Stands where a hash over bytes stands for files."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint

    def hexdigest(self) -> str:
        """What `datasets` calls the content."""
        return self._fingerprint


def _told(name: str) -> AbstractContextManager[None]:
    return told_in_sentences(name, page=f"datasets/{name}", field="data.dataset")


def _load(part: DataSource, commit: str, **options: Any) -> Any:
    import datasets

    name = part.dataset
    datasets.disable_progress_bars()
    try:
        with _told(name):
            return datasets.load_dataset(name, part.config, revision=commit or part.revision, **options)
    except ValueError as error:  # an unknown split or configuration
        field = "data.config" if "onfig" in str(error) else "data.split"
        raise InvalidInput(f"{name}: {' '.join(str(error).split()).rstrip('.')}.", field=field) from error
    except (OSError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        if not commit:
            raise Unavailable(OFFLINE.format(name=name)) from error
        raise InvalidInput(f"{name} cannot be read: {first_line(error)}.", field="data.dataset") from error
