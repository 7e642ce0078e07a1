"""Writes the lines of a format, whole or not, and goes on where it stopped."""

import contextlib
import hashlib
import json
import os
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator, Sequence, Tuple

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from harmoclip_mm.errors import DataError
from harmoclip_mm.files import PART, replacing

from .lines import Tally


def convert(module: ModuleType, args: Namespace) -> Tally:
    """Write all lines of a format to ``args.out``.

    They go to a file with the ending ``.part``, and what is needed to go on
    beside it, after each part of the source. The same command goes on behind
    the last whole part; other arguments or a changed source begin anew.

    Args:
        module (ModuleType): The format.
        args (Namespace): Its arguments.

    Returns:
        Tally: What was read, written and dropped.

    Raises:
        DataError: For a source that cannot be read, or if no box is left.
    """
    tally = Tally()
    parts = list(module.list_parts(args))
    part, state = Path(f'{args.out}{PART}'), Path(f'{args.out}{PART}.json')
    origin = fingerprint(args, parts)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    begun, size = _resume(part, state, origin, tally)
    done = begun
    try:
        with open(part, 'r+b' if begun else 'wb') as file:
            file.seek(size)
            file.truncate()
            for done, line in _lines(module, parts, begun, args, tally):
                if line:
                    file.write(line)
                elif done < len(parts):
                    _sync(file)
                    with replacing(state) as name, open(name, 'w') as target:
                        saved = {'origin': origin, 'done': done}
                        saved.update(size=file.tell(), tally=tally.state())
                        json.dump(saved, target)
            _sync(file)
        check_content(tally, args.source)
        os.replace(part, args.out)
        state.unlink(missing_ok=True)
    except BaseException:
        if state.exists():
            print(
                f'The same command goes on from {part}: {done} of '
                f'{len(parts)} files are in it',
                file=sys.stderr,
            )
        else:
            part.unlink(missing_ok=True)
        raise
    return tally


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def fingerprint(args: Namespace, parts: Sequence[Any]) -> str:
    """Differs if the arguments or the source do."""
    seen = [sorted((k, str(v)) for k, v in vars(args).items() if k != 'out')]
    for part in parts:
        seen.append(str(part))
        if isinstance(part, Path) and part.is_file():
            seen.append((part.stat().st_size, part.stat().st_mtime_ns))
    return hashlib.sha256(repr(seen).encode()).hexdigest()


def _resume(
    part: Path, state: Path, origin: str, tally: Tally
) -> Tuple[int, int]:
    """Parts that are done and bytes that they are."""
    try:
        saved = json.loads(state.read_text())
        if saved['origin'] == origin and part.stat().st_size >= saved['size']:
            tally.load(saved['tally'])
            print(f'Going on from {part}: {saved["done"]} files are in it')
            return saved['done'], saved['size']
        print(f'{part} is of other arguments or another source: anew')
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none, or none of ours
    state.unlink(missing_ok=True)
    return 0, 0


def _lines(
    module: ModuleType,
    parts: Sequence[Any],
    done: int,
    args: Namespace,
    tally: Tally,
) -> Iterator[Tuple[int, bytes]]:
    """Number of whole parts and a line; an empty one ends a part."""
    last, present = None, True
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(args.format, total=len(parts))
        for index in range(done, len(parts)):
            tally.on_move = lambda at, index=index: bar.update(
                task, completed=index + min(at, 1)
            )
            with contextlib.closing(
                module.read(parts[index], args, tally)
            ) as records:
                for record in records:
                    if record['filename'] != last:
                        last = record['filename']
                        present = args.images is None or os.path.isfile(
                            args.images / last
                        )
                        tally.written['images'] += present
                    if not present:
                        tally.drop('lines whose image is missing')
                        continue
                    tally.written['lines'] += 1
                    text = json.dumps(record, ensure_ascii=False) + '\n'
                    yield index, text.encode('utf-8', 'replace')
            bar.update(task, completed=index + 1)
            yield index + 1, b''


def check_content(tally: Tally, source: Path) -> None:
    """An empty file is no result."""
    if tally.written['lines'] and (
        tally.written['boxes'] or not tally.read['boxes']
    ):
        return
    reasons = ''.join(
        f'; {why}: {number}, first at {tally.first[why]}'
        for why, number in tally.dropped.most_common(3)
    )
    what = (
        f'none of its {tally.read["boxes"]} boxes is left'
        if tally.read['boxes']
        else 'there is nothing in it'
    )
    raise DataError(f'{source} gives no region-text data: {what}{reasons}')


def make_table(tally: Tally) -> Table:
    """What was read, written and dropped, and where first."""
    table = Table('', '', 'number', 'first at')
    table.columns[2].justify = 'right'
    table.columns[3].overflow = 'fold'
    for key in Tally.KEYS:
        counts = getattr(tally, key)
        names = [name for name in sorted(counts) if counts[name]]
        for index, name in enumerate(names):
            table.add_row(
                '' if index else key,
                name,
                str(counts[name]),
                tally.first.get(name, '') if key == 'dropped' else '',
            )
        table.add_section()
    return table
