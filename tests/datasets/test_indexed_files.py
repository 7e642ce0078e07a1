import json
import logging
import multiprocessing
import os
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from harmoclip_mm.datasets import indexed_files, odvg
from harmoclip_mm.datasets.odvg import OdvgFile
from harmoclip_mm.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def line_of(name, *boxes, width=64, height=48):
    regions = [{'bbox': box, 'phrase': 'dog'} for box in boxes]
    record = {
        'filename': name,
        'height': height,
        'width': width,
        'grounding': {'caption': 'A dog.', 'regions': regions},
    }
    return json.dumps(record).encode()


def write(folder, *lines, name='odvg.jsonl'):
    path = Path(folder) / name
    path.write_bytes(b'\n'.join(lines) + b'\n')
    return str(path)


BOX = [0, 0, 9, 9]


def test_rows_tell_where_each_line_is(tmp_path):
    lines = [
        line_of('a', BOX, [0, 0, 99, 9]),
        b'  ',
        line_of('b'),
        line_of('a', [70, 0, 80, 9], width=40),
    ]
    path = write(tmp_path, *lines)
    index = OdvgFile(path)
    rows = {key: index.rows[key].tolist() for key in index.rows.dtype.names}
    lengths = [len(line) + 1 for line in lines]
    assert rows == {
        'start': [0, lengths[0] + 3, sum(lengths[:3])],
        'size': [lengths[0], lengths[2], lengths[3]],
        'line': [1, 3, 4],
        'image': [0, 1, 0],
        'short_side': [48, 48, 40],
        'boxes': [2, 0, 0],
        'clipped': [1, 0, 0],
        'dropped': [0, 0, 1],
    }
    content = Path(path).read_bytes()
    for start, size, line in zip(rows['start'], rows['size'], (0, 2, 3)):
        assert content[start : start + size].strip() == lines[line]


def test_names_of_images_are_not_held_while_an_index_is_made(tmp_path):
    """Of lines whose names are long, memory stays below their length."""
    names = [f'{i:04d}' + 'x' * 4000 for i in range(2000)]
    path = write(tmp_path, *map(line_of, [*names, *names[::-1]]))
    tracemalloc.start()
    rows = OdvgFile(path).rows
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    order = [*range(2000)]
    assert rows['image'].tolist() == [*order, *order[::-1]]
    assert peak < 2000 * 4000 / 2


def test_a_last_line_without_an_end_is_read(tmp_path):
    path = tmp_path / 'odvg.jsonl'
    path.write_bytes(line_of('a') + b'\n' + line_of('b'))
    assert OdvgFile(str(path)).rows['size'][1] == len(line_of('b'))


def test_lines_as_windows_writes_them(tmp_path):
    """A byte order mark and CRLF are no part of a line."""
    path = tmp_path / 'odvg.jsonl'
    lines = [b'\xef\xbb\xbf' + line_of('a', BOX), b'', line_of('b'), b'']
    path.write_bytes(b'\r\n'.join(lines))
    file = OdvgFile(str(path))
    assert file.rows['line'].tolist() == [1, 3]
    assert [file.read(row)['filename'] for row in (0, 1)] == ['a', 'b']
    path.write_text('{"filename": "a"}', encoding='utf-16')
    with pytest.raises(DataError, match=r'odvg\.jsonl:1: '):
        OdvgFile(str(path))


def test_the_second_opening_maps_and_parses_nothing(tmp_path, monkeypatch):
    path = write(tmp_path, *(line_of(str(i), BOX) for i in range(20_000)))
    first = OdvgFile(path)

    def parse(*args):
        raise AssertionError('a line was parsed')

    monkeypatch.setattr(odvg, 'parse_odvg_line', parse)
    again = OdvgFile(path)
    assert isinstance(again.rows.base, np.memmap)
    assert len(again.rows) == 20_000 and (again.rows == first.rows).all()
    assert Path(f'{path}.index').stat().st_size < 36 * 20_000 + 1000
    assert sorted(os.listdir(tmp_path)) == ['odvg.jsonl', 'odvg.jsonl.index']


def change_length(path):
    """As a copy does that keeps the time."""
    stat = os.stat(path)
    with open(path, 'ab') as file:
        file.write(line_of('c') + b'\n')
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def change_time(path):
    stat = os.stat(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def cut_index(path):
    os.truncate(f'{path}.index', os.path.getsize(f'{path}.index') - 1)


def spoil_index(path):
    Path(f'{path}.index').write_bytes(b'\xff' * 5000)


@pytest.mark.parametrize(
    'change',
    [change_length, change_time, cut_index, spoil_index],
)
def test_a_stale_or_broken_index_is_made_anew(tmp_path, monkeypatch, change):
    path = write(tmp_path, line_of('a', BOX), line_of('b'))
    OdvgFile(path)
    change(path)
    parse = odvg.parse_odvg_line
    parsed = []

    def count(line, where, tally):
        parsed.append(where)
        return parse(line, where, tally)

    monkeypatch.setattr(odvg, 'parse_odvg_line', count)
    expected = 3 if change is change_length else 2
    for _ in range(2):  # and kept
        assert len(OdvgFile(path).rows) == expected
        assert len(parsed) == expected


def test_a_bad_line_leaves_no_index(tmp_path):
    path = write(tmp_path, line_of('a'), b'', b'{"filename": ')
    for _ in range(2):
        with pytest.raises(ValueError, match=r'odvg\.jsonl:3: not valid JSON'):
            OdvgFile(path)
    assert os.listdir(tmp_path) == ['odvg.jsonl']


def build_and_tell(path, barrier, queue):
    built = []
    build = OdvgFile._build

    def count(self):
        built.append(1)
        return build(self)

    OdvgFile._build = count
    barrier.wait()
    index = OdvgFile(path)
    queue.put((len(built), len(index.rows), index.rows['start'].sum()))


def test_of_processes_that_start_at_once_one_builds(tmp_path):
    lines = [line_of(str(i), BOX) for i in range(3000)]
    path = write(tmp_path, *lines)
    context = multiprocessing.get_context('fork')
    barrier, queue = context.Barrier(4), context.SimpleQueue()
    processes = [
        context.Process(target=build_and_tell, args=(path, barrier, queue))
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    results = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    starts = np.cumsum([0] + [len(line) + 1 for line in lines[:-1]]).sum()
    assert sorted(results) == [(0, 3000, starts)] * 3 + [(1, 3000, starts)]
    assert sorted(os.listdir(tmp_path)) == ['odvg.jsonl', 'odvg.jsonl.index']


@pytest.fixture
def nobody():
    """Rights of a user who owns nothing, where the tests run as root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


def test_an_index_that_another_machine_made_meanwhile_stays(
    tmp_path, monkeypatch
):
    path = write(tmp_path, line_of('a', BOX))
    build, made = OdvgFile._build, []

    def build_late(self):
        with monkeypatch.context() as other:
            other.setattr(OdvgFile, '_build', build)
            other.setattr(tempfile, 'tempdir', str(tmp_path))  # its locks
            OdvgFile(path)
        made.append(os.stat(f'{path}.index').st_ino)
        return build(self)

    monkeypatch.setattr(OdvgFile, '_build', build_late)
    assert OdvgFile(path).rows['boxes'].tolist() == [1]
    assert made == [os.stat(f'{path}.index').st_ino]


@pytest.fixture
def read_only_file():
    """A file in a folder that is only read; pytest's are root's alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        data = Path(folder) / 'data'
        data.mkdir()
        path = write(data, line_of('a', BOX))
        os.chmod(data, 0o555)
        yield path
        os.chmod(data, 0o755)


def test_a_read_only_folder_has_its_index_in_the_cache(
    read_only_file, monkeypatch, request
):
    cache = Path(read_only_file).parents[1] / 'cache'
    cache.mkdir()
    os.chmod(cache, 0o777)
    monkeypatch.setenv('XDG_CACHE_HOME', str(cache))
    request.getfixturevalue('nobody')
    assert len(OdvgFile(read_only_file).rows) == 1
    assert os.listdir(Path(read_only_file).parent) == ['odvg.jsonl']
    (kept,) = (cache / 'harmoclip_mm' / 'indices').iterdir()
    assert kept.name.startswith('odvg.jsonl.')

    def parse(*args):
        raise AssertionError('a line was parsed')

    monkeypatch.setattr(odvg, 'parse_odvg_line', parse)
    assert isinstance(OdvgFile(read_only_file).rows.base, np.memmap)


def test_where_nothing_is_writable_the_index_stays_in_memory(
    read_only_file, monkeypatch, request, caplog
):
    cache = Path(read_only_file).parent  # read-only too
    monkeypatch.setenv('XDG_CACHE_HOME', str(cache))
    logger = logging.getLogger('index')
    monkeypatch.setattr(
        indexed_files,
        'print_log',
        lambda text, **_: logger.warning(text),
    )
    request.getfixturevalue('nobody')
    index = OdvgFile(read_only_file)
    assert index.rows['boxes'].tolist() == [1]
    assert 'not kept' in caplog.text and 'denied' in caplog.text


def test_a_full_disk_costs_the_index_and_nothing_else(
    tmp_path, monkeypatch, caplog
):
    path = write(tmp_path, line_of('a', BOX))
    logger = logging.getLogger('index')
    monkeypatch.setattr(
        indexed_files, 'print_log', lambda text, **_: logger.warning(text)
    )

    def full(file, index):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(indexed_files.np, 'save', full)
    assert len(OdvgFile(path).rows) == 1
    assert 'No space left on device' in caplog.text
    assert [p.name for p in tmp_path.rglob('*.*')] == ['odvg.jsonl']
