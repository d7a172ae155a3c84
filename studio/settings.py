"""Where the studio keeps its things and how it may be reached: read once at start, then handed on.

Knows no library. The environment is read here and nowhere else:
`STUDIO_HOME` (folder, default `~/.finetune-studio`) and `STUDIO_DATABASE_URL` (default: SQLite in that folder).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from studio.errors import Refused

DEFAULT_PORT = 7860


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One studio: its home folder and the way in."""

    home: Path
    """Folder of everything the studio writes: models, datasets, runs, the database, logs."""
    database_url: str
    """SQLAlchemy URL of the history database."""
    host: str = "127.0.0.1"
    """Address to listen on. Anything but a loopback address needs a login."""
    port: int | None = None
    """Port asked for; None takes the first free one from 7860 on."""
    share: bool = False
    """Whether to open a public gradio.live link. Needs a login."""
    allow_paths: tuple[Path, ...] = field(default=())
    """Further folders whose files may be named on the pages once the studio is exposed."""
    open_browser: bool = True
    """Whether to open the page in the default browser after the start."""

    @property
    def exposed(self) -> bool:
        """Whether others than this machine's own user can reach the pages."""
        return self.share or self.host not in ("127.0.0.1", "localhost", "::1")

    @property
    def models(self) -> Path:
        """Folder of models that the studio fetched itself."""
        return self.home / "models"

    @property
    def starter_model(self) -> Path:
        """Folder of the converted starter model; complete when it exists (it is renamed into place)."""
        return self.models / "SmolLM2-135M-Instruct"

    @property
    def uploads(self) -> Path:
        """Folder of datasets that came through the browser."""
        return self.home / "datasets"

    @property
    def data_cache(self) -> Path:
        """What was read and measured of datasets, kept so that nobody waits twice; may be deleted at any time."""
        return self.home / "cache"

    @property
    def runs(self) -> Path:
        """Folder of run folders: the truth that the database indexes."""
        return self.home / "runs"

    @property
    def trash(self) -> Path:
        """Where deleted runs wait until the trash is emptied."""
        return self.home / "trash"

    @property
    def logs(self) -> Path:
        """Folder of the studio's own logs (each run keeps its own beside its data)."""
        return self.home / "logs"

    @property
    def temporary(self) -> Path:
        """Private scratch folder, on the same disk as the rest so that results can be renamed into place."""
        return self.home / "tmp"

    def make_folders(self) -> None:
        """Create the home and its folders, private to this user. Raises Refused where nothing can be written."""
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (
                self.models,
                self.uploads,
                self.data_cache,
                self.runs,
                self.trash,
                self.logs,
                self.temporary,
            ):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Refused(
                f"The studio's home {self.home} cannot be written: {error.strerror}. Choose another folder with --home."
            ) from error


def read_settings(home: Path | None = None, **ways_in: object) -> Settings:
    """Settings from the arguments, else the environment, else the defaults. Touches no disk.

    `ways_in` are the fields of `Settings` other than the folder and the database.
    """
    folder = home or Path(os.environ.get("STUDIO_HOME") or Path.home() / ".finetune-studio")
    folder = folder.expanduser().resolve()
    url = os.environ.get("STUDIO_DATABASE_URL") or f"sqlite:///{folder / 'history.sqlite'}"
    return Settings(home=folder, database_url=url, **ways_in)  # type: ignore[arg-type]
