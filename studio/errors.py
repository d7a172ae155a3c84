"""The few errors a person can meet, each message a sentence to act on.

    StudioError             anything the studio refuses or cannot do; shown as it is
    ├── InvalidInput        a value, file or folder that was handed in is wrong; `field` names the form field
    ├── NotFound            a run, model, dataset or export that does not exist (any more)
    ├── Refused             well-formed but not possible here and now: memory, disk, a status, a policy
    ├── Unavailable         the network, the Hub or one of the studio's own processes did not answer
    └── HistoryError        the database could not be read or written

A message says what happened, why most likely, and what to do now. Anything that is not a StudioError is a bug:
pages show "Something went wrong" with the log's name, and the traceback goes to the log.
"""


class StudioError(Exception):
    """Root of all errors meant for people; `str(error)` is the sentence to show."""


class InvalidInput(StudioError):
    """A value that was handed in cannot be used.

    `field` is the dotted recipe field (`training.learning_rate`) where there is one, so that a form can put the
    sentence beside it.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class NotFound(StudioError):
    """The named thing does not exist here."""


class Refused(StudioError):
    """Well-formed, but not possible on this machine or in this state."""


class Unavailable(StudioError):
    """Something this needs did not answer: the network, the Hub, or another process of the studio."""


class HistoryError(StudioError):
    """The run history could not be read or written."""
