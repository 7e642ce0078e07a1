"""What tools have in common that read a foreign CLIP, or write one."""

import argparse
import os

from harmoclip_mm.errors import UsageError


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a tool for how a foreign file is to be read.

    Args:
        parser (argparse.ArgumentParser): Parser of the tool's command line;
            its result has ``arch`` and ``trust_pickle``, arguments of
            ``load_clip``.
    """
    parser.add_argument(
        '--arch',
        help="the CLIP that the checkpoint is, a name of open_clip's list or "
        'a folder with its open_clip_config.json, where it does not say so '
        'itself',
    )
    parser.add_argument(
        '--trust-pickle',
        action='store_true',
        help='run the code that the file holds beside its weights: only for '
        'files whose source you trust',
    )


def add_format_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--format``, one of those that ``export_clip`` writes."""
    parser.add_argument(
        '--format',
        choices=('open_clip', 'huggingface'),
        default='open_clip',
        help='what to write (default: open_clip)',
    )


def refuse_existing(path: str) -> None:
    """Refuse to write over what is there, e.g. another CLIP's files.

    Args:
        path (str): File or folder to write; a folder may be there, empty.

    Raises:
        UsageError: If it exists.
    """
    path = os.path.expanduser(path)
    if os.path.isfile(path) or (os.path.isdir(path) and os.listdir(path)):
        raise UsageError(f'{path} exists: delete it, or name another')
