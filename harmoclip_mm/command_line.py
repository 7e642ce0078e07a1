"""Options that several commands have.

Only light packages are imported here and before a command line is read, so
that ``--help`` and a wrong option answer at once.
"""

import argparse

from mmengine.config import DictAction


def add_config_option(parser: argparse.ArgumentParser, example: str) -> None:
    """Add ``--cfg-options``, what ``load_config`` takes as its options.

    Args:
        parser (argparse.ArgumentParser): Parser of the command.
        example (str): A setting that users of the command change.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help=f'replace settings of the config, e.g. {example} or '
        'key="[a,b]"; no white space inside',
    )


def add_launcher_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--launcher`` and the rank that old launchers give."""
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch', 'slurm'),
        default='none',
        help='who started the processes (default: none, a single process)',
    )
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help='set by old launchers, not by users',
    )
