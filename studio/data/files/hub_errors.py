"""What the Hugging Face Hub refuses, in sentences: for datasets here and for models in `ml/hub.py`.

The client is imported on use: a look at a local file must not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from studio.errors import InvalidInput, NotFound, Refused, Unavailable

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

OFFLINE = "{name} is not on this machine and the Hub cannot be reached. Check the network, or choose one that is here."


@contextmanager
def told_in_sentences(name: str, page: str | None = None, field: str | None = None) -> Iterator[None]:
    """Turn what the Hub client raises while working on `name` into StudioErrors.

    `page` is its address on the Hub where that is not the name itself (datasets/owner/name); `field` is the recipe's.
    """
    import httpx2 as httpx  # what huggingface_hub 2 speaks with, so these are the errors it raises
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise Refused(
            f"{name} is gated: its owner wants to know who uses it. Open https://huggingface.co/{page or name}, accept "
            "the terms, run `hf auth login` once on this machine, and try again."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise NotFound(f"{name} has no such revision. Leave the revision empty for the newest.") from error
    except errors.LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, errors.HfHubHTTPError):  # the Hub did answer, and nothing is cached
            raise _answered(error.__cause__, name) from error
        raise Unavailable(OFFLINE.format(name=name)) from error
    except errors.RepositoryNotFoundError as error:
        raise NotFound(
            f"There is no {name} on the Hub, or it is private. Check the spelling; for a private one run "
            "`hf auth login` on this machine."
        ) from error
    except errors.EntryNotFoundError as error:
        raise NotFound(f"{name} lacks a file that is needed: {error}.") from error
    except errors.HFValidationError as error:
        raise InvalidInput(f"{name} is no Hub name: they look like owner/name.", field=field) from error
    except (errors.OfflineModeIsEnabled, httpx.TransportError) as error:
        raise Unavailable(OFFLINE.format(name=name)) from error
    except errors.HfHubHTTPError as error:
        raise _answered(error, name) from error


def _answered(error: HfHubHTTPError, name: str) -> Unavailable:
    code = error.response.status_code if error.response is not None else "no status"
    return Unavailable(f"The Hub answered {code} for {name}. Wait a minute and try again.")
