"""How the command line ends: one message, no traceback."""

import sys
from typing import Callable

from torch.distributed.elastic.multiprocessing.errors import record

from harmoclip_mm.errors import UsageError


def run_command(main: Callable[[], None]) -> None:
    """Run the ``main`` of a tool and end with a message, not a traceback.

    Only :class:`UsageError` is caught: any other exception is a defect, and
    its traceback is wanted. In a distributed run every rank prints, since
    the launcher ends the others as soon as the first has stopped; torchrun
    is told what happened and repeats it after all that the others print.

    Args:
        main (Callable[[], None]): The tool.
    """
    try:
        record(main)()
    except UsageError as error:
        sys.exit(f'Error: {error}')
