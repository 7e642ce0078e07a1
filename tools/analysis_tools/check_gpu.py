#!/usr/bin/env python
"""Check a GPU: everything that trains, against the CPU, in one run.

    python tools/analysis_tools/check_gpu.py --out gpu.json

Tiny models train three steps on every path (float32, bfloat16, float16,
crops, teacher, micro-batches, windows, a detector, ...) and are held against
the CPU in float32. Then a ViT-B/16 tells the speed beside open_clip's own and
whether the data loader keeps up. Every check has a stated tolerance, and runs
whether or not another failed. The status is 1 if one failed.
"""

import argparse
import json
import os
import signal
import tempfile
import time
import traceback
from datetime import date
from pathlib import Path
from typing import Any, Dict, List

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from benchmark_speed import device_name
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harmoclip_mm.files import replacing
from harmoclip_mm.version import __version__


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option('--out', help='JSON file for all figures')
    option(
        '--coco-root',
        metavar='FOLDER',
        help='train on photos of this folder in the layout of COCO, with the '
        'phrases of to_odvg.py coco-captions (default: photos are made up)',
    )
    text = 'cpu runs what needs no GPU, to try the checks themselves'
    option('--device', choices=('cuda', 'cpu'), default='cuda', help=text)
    text = 'tiny models and images everywhere; speeds are not judged then'
    option('--quick', action='store_true', help=text)
    text = 'images of a step whose speed is measured (default: %(default)s)'
    option('--batch-size', type=int, default=256, help=text)
    option(
        '--minutes',
        type=float,
        default=8.0,
        help='what is not over by then is ended, the rest is not begun '
        '(default: %(default)s)',
    )
    option('--only', nargs='+', metavar='NAME', help='run these checks alone')
    args = parser.parse_args()
    if args.out and not args.out.endswith('.json'):
        parser.error('--out must name a .json file')
    return args


def lacking(check: Any, args: argparse.Namespace, left: float) -> str:
    """Why a check cannot run; empty if it can."""
    from mmcv.ops import get_compiling_cuda_version

    if left <= 0:
        return 'no time left'
    if args.device == 'cpu':
        return 'needs a GPU' if check.needs == 'cuda' else ''
    if check.needs == 'operators' and 'not' in get_compiling_cuda_version():
        return 'mmcv was built without CUDA operators'
    return ''


def run_check(
    check: Any, args: argparse.Namespace, left: float
) -> Dict[str, Any]:
    """Runs a check, whatever happens in it, for ``left`` seconds at most.

    Returns:
        Dict[str, Any]: ``name``, ``status`` (passed, failed or not run),
        ``reason`` of the latter two, ``seconds``, ``figures`` and bounds.
    """
    row: Dict[str, Any] = dict(name=check.name, status='not run', seconds=0.0)
    row.update(reason=lacking(check, args, left), figures={})
    row.update(most=check.most, least=check.least)
    if row['reason']:
        return row
    begin = time.perf_counter()
    before = signal.signal(signal.SIGALRM, end_check)
    signal.setitimer(signal.ITIMER_REAL, left)
    try:
        figures = row['figures'] = check.run(args)
        # `not`: a NaN is within no bounds
        wrong = [k for k, v in check.most.items() if not figures[k] <= v]
        wrong += [k for k, v in check.least.items() if not figures[k] >= v]
        if check.timed and (args.quick or args.device == 'cpu'):
            wrong = []
        row['status'] = 'failed' if wrong else 'passed'
        row['reason'] = ', '.join(wrong)
    except Exception as error:  # one that fails must not stop the others
        first = str(error).strip().split('\n')[0]
        row.update(status='failed', reason=f'{type(error).__name__}: {first}')
        row['traceback'] = traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    row['seconds'] = time.perf_counter() - begin
    return row


def end_check(*args: Any) -> None:
    """Ends the check that runs, as a signal's handler."""
    raise TimeoutError('the time was over')


def show(rows: List[Dict[str, Any]], device: str, console: Console) -> None:
    """Prints figures and their bounds."""
    table = Table('check', 'status', 'figures', title=device)
    for row in rows:
        words = [row['reason']] if row['status'] != 'passed' else []
        for name, value in row['figures'].items():
            words.append(f'{name} {value:.2g}')
            for sign, bounds in (('<=', row['most']), ('>=', row['least'])):
                if name in bounds:
                    words[-1] += f' {sign} {bounds[name]}'
        table.add_row(row['name'], row['status'], escape('\n'.join(words)))
    console.print(table)


def main() -> None:
    """Run the checks."""
    args, start = parse_args(), time.monotonic()
    import torch
    from mmdet.utils import collect_env
    from mmengine.logging import MMLogger

    if args.device == 'cuda' and not torch.cuda.is_available():
        raise UsageError(
            'torch sees no GPU: run this where there is one, or try the '
            'checks themselves with --device cpu --quick'
        )
    import gpu_checks

    names = [check.name for check in gpu_checks.CHECKS]
    for name in args.only or ():
        if name not in names:
            raise UsageError(f'no check is named {name!r}, but {names} are')
    MMLogger.get_instance('check_gpu', log_level='WARNING')
    about: Dict[str, Any] = dict(date=date.today().isoformat())
    about.update(device=device_name(args.device), harmoclip_mm=__version__)
    about.update({k: str(v) for k, v in collect_env().items()})
    content = dict(about, settings=dict(vars(args)), checks=[])
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        root = args.coco_root
        if not root:
            root = Path(folder, 'coco')
            gpu_checks.write_coco(root, 12 if args.quick else 256)
            os.environ.pop('COCO_PHRASES', None)
        os.environ['COCO_ROOT'] = str(root)
        args.folder, args.references = folder, {}
        for check in gpu_checks.CHECKS:
            if args.only and check.name not in args.only:
                continue
            left = 60 * args.minutes - (time.monotonic() - start)
            with console.status(check.name):
                row = run_check(check, args, left)
            content['checks'].append(row)
            content['seconds'] = time.monotonic() - start
            if args.out:  # what there is, should the next end the process
                with replacing(args.out) as path:
                    Path(path).write_text(json.dumps(content, indent=2) + '\n')
    show(content['checks'], about['device'], console)
    if args.out:
        print(f'The figures are in {args.out}')
    if any(row['status'] == 'failed' for row in content['checks']):
        raise SystemExit(1)


if __name__ == '__main__':
    run_command(main)
