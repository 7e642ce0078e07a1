"""Errors that are the user's to mend: a message, not a defect."""


class UsageError(Exception):
    """What the user asked for cannot be done; the message says what to do.

    For a missing file, a checkpoint of another model, a launcher without its
    environment. Tools print the message without a traceback.
    """


class DataError(UsageError, ValueError):
    """Annotations, predictions or a results file that do not fit together."""


class CheckpointError(UsageError):
    """A checkpoint that cannot be read or is of another model."""
