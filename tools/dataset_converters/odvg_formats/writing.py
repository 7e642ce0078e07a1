"""Writes the lines of a format, whole or not, and goes on where it stopped."""

import contextlib
import hashlib
import json
import os
import shutil
import sys
from argparse import Namespace
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any, Iterable, Iterator, List, Sequence, Set

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from harmoclip_mm.errors import DataError, UsageError
from harmoclip_mm.files import check_writable, replacing

from .lines import Tally


def convert(module: ModuleType, args: Namespace) -> Tally:
    """Write all lines of a format to ``args.out``.

    Those of each part of the source are kept in a folder beside it until all
    are there. The same command goes on behind the last whole part; other
    arguments or a changed source begin anew.

    Args:
        module (ModuleType): The format.
        args (Namespace): Its arguments.

    Returns:
        Tally: What was read, written and dropped.

    Raises:
        DataError: For a source that cannot be read, or if no box is left.
        UsageError: See :func:`check_out`.
    """
    parts = list(module.list_parts(args))
    check_out(args.out, [*parts, *given_values(args)])
    folder = begin(args.out, fingerprint(args, parts))
    done = whole_parts(folder)
    try:
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task(args.format, total=len(parts))
            for number, part in enumerate(parts):
                tally = Tally()
                tally.on_move = lambda at, number=number: bar.update(
                    task, completed=number + min(at, 1)
                )
                if number not in done:
                    lines = _lines(module, part, args, tally)
                    keep_lines(folder, number, lines, tally)
                bar.update(task, completed=number + 1)
    except BaseException:
        done = whole_parts(folder)
        if done:
            print(
                f'The same command goes on from {folder}: {len(done)} of '
                f'{len(parts)} files are in it',
                file=sys.stderr,
            )
        else:
            shutil.rmtree(folder)
        raise
    return join(folder, args.out, Tally(), args.source, len(parts))


def _lines(
    module: ModuleType, part: Any, args: Namespace, tally: Tally
) -> Iterator[dict]:
    """Lines of a part whose images are there."""
    last, present, written = None, True, Counter()
    with contextlib.closing(module.read(part, args, tally)) as records:
        for record in tally.expect(args.format, records):
            if record['filename'] != last:
                last = record['filename']
                present = args.images is None or os.path.isfile(
                    args.images / last
                )
                tally.written['images'] += present
            if present:
                tally.written['lines'] += 1
                yield record
                written = tally.written.copy()
            else:
                tally.drop('lines whose image is missing')
                tally.written = written.copy()


def given_values(args: Namespace) -> List[Any]:
    """Arguments but the file to write, such as captions beside a source."""
    return [value for key, value in vars(args).items() if key != 'out']


def check_out(out: Path, sources: Iterable[Any]) -> None:
    """Refuse to write where nothing can be written, or over what is read.

    Args:
        out (Path): The file to write.
        sources (Iterable[Any]): What is read, where it is a path.

    Raises:
        UsageError: Naming the path.
    """
    check_writable(out)
    for each in sources:
        if isinstance(each, Path) and each.resolve() == out.resolve():
            raise UsageError(f'--out {out} is read, too: name another file')


def begin(out: Path, key: str) -> Path:
    """Make the folder of parts of a file.

    Args:
        out (Path): The file.
        key (str): :func:`fingerprint` of what it is made of.

    Returns:
        Path: The folder, with what the same command has done.

    Raises:
        UsageError: If something else is in its place.
    """
    folder = Path(f'{out}.chunks')
    mark = folder / 'key'
    if mark.is_file() and mark.read_text() == key:
        number = len(whole_parts(folder))
        print(f'Going on from {folder}: {number} chunks are in it')
        return folder
    if folder.exists():
        if not mark.is_file():
            raise UsageError(f'{folder} is in the way: move it elsewhere')
        print(f'{folder} is of other arguments or another source: anew')
        shutil.rmtree(folder)
    with replacing(mark) as name:
        Path(name).write_text(key)
    return folder


def whole_parts(folder: Path) -> Set[int]:
    """Numbers of the parts that are whole."""
    return {int(path.stem) for path in folder.glob('*.json')}


def keep_lines(
    folder: Path, number: int, lines: Iterable[dict], tally: Tally
) -> None:
    """Write the lines of a part, then their tally, which tells it whole."""
    part = folder / f'{number:08d}.jsonl'
    with replacing(part) as name, open(name, 'wb') as file:
        for line in lines:
            text = json.dumps(line, ensure_ascii=False) + '\n'
            file.write(text.encode('utf-8', 'replace'))
    with replacing(part.with_suffix('.json')) as name:
        Path(name).write_text(json.dumps(tally.state()))


def join(
    folder: Path, out: Path, tally: Tally, source: Any, number: int
) -> Tally:
    """Make one file of so many parts, and one tally, in their order."""
    # by name: what other machines wrote may not be listed here yet
    parts = [folder / f'{part:08d}.json' for part in range(number)]
    for path in parts:
        tally.add(json.loads(path.read_text()))
    try:
        check_content(tally, source)
    except DataError:
        shutil.rmtree(folder)
        raise
    with replacing(out) as name, open(name, 'wb') as file:
        for path in parts:
            with open(path.with_suffix('.jsonl'), 'rb') as part:
                shutil.copyfileobj(part, file)
    shutil.rmtree(folder)
    return tally


def fingerprint(args: Namespace, parts: Sequence[Any]) -> str:
    """Differs if the arguments or the source do."""
    seen = [sorted((k, str(v)) for k, v in vars(args).items() if k != 'out')]
    for part in (*parts, *given_values(args)):
        seen.append(str(part))
        if isinstance(part, Path) and part.is_file():
            seen.append((part.stat().st_size, part.stat().st_mtime_ns))
    return hashlib.sha256(repr(seen).encode()).hexdigest()


def check_content(tally: Tally, source: Any) -> None:
    """An empty file is no result."""
    read, written = tally.read, tally.written
    # captions alone are data, and so are images that have no boxes
    lost = read['boxes'] or read['regions']
    lost = lost or (tally.dropped and not read['captions'])
    if written['lines'] and (written['boxes'] or not lost):
        return
    reasons = ''.join(
        f'; {why}: {number}, first at {tally.first[why]}'
        for why, number in tally.dropped.most_common(3)
    )
    if read['boxes']:
        what = f'none of its {read["boxes"]} boxes is left'
    elif written['lines']:
        what = 'no box is left'
    else:
        what = 'there is nothing in it'
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
