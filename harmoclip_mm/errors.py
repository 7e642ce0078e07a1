"""Errors that are the user's to mend: a message, not a defect."""

import os
import sys
from typing import Any, Callable, Iterable


class UsageError(Exception):
    """What the user asked for cannot be done; the message says what to do.

    For a missing file, a checkpoint of another model, a launcher without its
    environment. Tools print the message without a traceback.
    """


class DataError(UsageError, ValueError):
    """Data files that are missing, malformed or do not fit together."""


class CheckpointError(UsageError):
    """A checkpoint that cannot be read or is of another model."""


def check_choice(
    owner: str, option: str, value: Any, choices: Iterable[Any]
) -> None:
    """Refuse a setting that is none of those there are.

    Raises:
        ValueError: Naming them.
    """
    if value not in choices:
        raise ValueError(
            f'{owner} knows no {option} {value!r}; choose one of '
            f'{", ".join(map(repr, choices))}'
        )


def run_command(main: Callable[[], None]) -> None:
    """Run the ``main`` of a tool and end with a message, not a traceback.

    Only :class:`UsageError`, what the system says of a named file and Ctrl-C
    are caught: any other exception is a defect, and its traceback is wanted.
    In a distributed run every rank
    prints, since the launcher ends the others as soon as the first has
    stopped; torchrun is told what happened and repeats it after all that the
    others print.
    """
    try:
        if 'TORCHELASTIC_ERROR_FILE' in os.environ:
            # here, since it takes seconds that --help has not
            from torch.distributed.elastic.multiprocessing.errors import record

            main = record(main)
        main()
    except UsageError as error:
        text = str(error)
        if text.startswith('Caught '):  # torch adds the traceback of a worker
            text = text.strip().splitlines()[-1].split(': ', 1)[-1]
        sys.exit(f'Error: {text}')
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise
        sys.exit(f'Error: {error.filename}: {error.strerror}')
    except KeyboardInterrupt:
        print('Interrupted', file=sys.stderr)
        sys.exit(130)  # as shells say it
