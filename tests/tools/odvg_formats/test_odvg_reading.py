import json
import random
import tracemalloc

import pytest
from odvg_formats import reading
from odvg_formats.lines import Tally
from odvg_formats.reading import iter_json

from harmoclip_mm.errors import DataError


@pytest.mark.parametrize('chunk', [1, 2, 3, 7, 1000])
@pytest.mark.parametrize('indent', [None, 1])
def test_any_cut_of_the_text_reads_alike(tmp_path, monkeypatch, chunk, indent):
    monkeypatch.setattr(reading, '_CHUNK', chunk)
    path = tmp_path / 'a.json'
    values = [12345, -1.5e3, 'a "b" \\ é', None, True, {'x': [1, []]}, [], 0]
    path.write_text(json.dumps(values, indent=indent), encoding='utf-8-sig')
    assert list(iter_json(path, Tally())) == list(enumerate(values))
    content = {'info': {'a': [1]}, 'images': [1, 22], 'none': [], 'n': 333}
    path.write_text(json.dumps(content, indent=indent))
    assert list(iter_json(path, Tally())) == [
        ('info', {'a': [1]}),
        ('images', 1),
        ('images', 22),
        ('n', 333),
    ]


@pytest.mark.parametrize(
    'text, line',
    [
        ('', 1),
        ('12', 1),
        ('[1,\n2', 2),
        ('[1 2]', 1),
        ('[1,\n\n]', 3),
        ('{"a": [1,\n2,\n{"b"', 3),
        ('{"a"\n 1}', 2),
        ('[' * 100000, 1),
        ('[1]\n[2]', 2),
        ('{"a": [1]}\n\n{"a": [2]}\n', 3),
        ('{"a": 1}}', 1),
    ],
)
def test_what_is_no_json_is_told_with_its_line(tmp_path, text, line):
    path = tmp_path / 'a.json'
    path.write_text(text)
    with pytest.raises(DataError, match=rf'a\.json:{line}: not valid JSON'):
        list(iter_json(path, Tally()))


def test_a_file_of_another_encoding(tmp_path):
    path = tmp_path / 'a.json'
    path.write_bytes('["é"]'.encode('latin1'))
    with pytest.raises(DataError, match=r'a\.json: not a text in UTF-8'):
        list(iter_json(path, Tally()))


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / 'a.json'
    word = 'x' * 1000
    path.write_text(json.dumps([{'phrase': word}] * 20000))  # 20 MB
    shares = []
    tally = Tally()
    tally.on_move = shares.append
    tracemalloc.start()
    count = sum(1 for _ in iter_json(path, tally))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20000
    assert peak < 6e6, peak
    assert shares == sorted(shares) and shares[-1] == 1


def test_random_structures(tmp_path, monkeypatch):
    rng = random.Random(0)

    def make(depth):
        kind = rng.randrange(4 if depth else 2)
        if kind < 2:
            return rng.choice([1.25, 10**12, 'tä', '', False])
        if kind == 2:
            return [make(depth - 1) for _ in range(rng.randrange(4))]
        return {str(i): make(depth - 1) for i in range(rng.randrange(4))}

    path = tmp_path / 'a.json'
    for _ in range(50):
        monkeypatch.setattr(reading, '_CHUNK', rng.randrange(1, 20))
        value = [make(3) for _ in range(5)]
        path.write_text(json.dumps(value))
        assert [each for _, each in iter_json(path, Tally())] == value
