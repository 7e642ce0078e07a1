"""An index on disk, and searches in it against numpy."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.apis import region_index
from harmoclip_mm.apis.region_index import RegionIndex
from harmoclip_mm.errors import DataError, UsageError

needs_halves = pytest.mark.skipif(
    region_index._time(
        region_index._half, torch.zeros(1, 1).half(), torch.ones(1, 1)
    )
    == float('inf'),
    reason='this torch multiplies no float16 on a CPU',
)


def rows_of(features, boxes):
    """Two regions an image."""
    for start in range(0, len(features), 2):
        part = slice(start, start + 2)
        yield start // 2, boxes[part], features[part]


@pytest.fixture
def made(tmp_path):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(1000, 16)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    boxes = generator.uniform(0, 5000, (1000, 4)).astype(np.float32)
    images = [f'{n}.jpg' for n in range(500)]
    folder = str(tmp_path / 'made.index')
    index = RegionIndex.write(folder, images, rows_of(features, boxes), 16)
    return index, features, boxes


def test_what_is_written_is_read(made):
    index, features, boxes = made
    assert (index.features == features.astype(np.float16)).all()
    assert (index.boxes[:, 1:] == boxes).all()
    assert index.boxes[:, 0].tolist() == [n // 2 for n in range(1000)]
    assert isinstance(index.features, np.memmap)
    assert not Path(index.folder + '.part').exists()


@pytest.mark.parametrize(
    'halves', [pytest.param(True, marks=needs_halves), False]
)
@pytest.mark.parametrize('topk', [1, 7, 1000, 2000])
def test_search_is_exact_over_blocks(made, halves, topk, monkeypatch):
    monkeypatch.setattr(region_index, '_BLOCK', 300)
    monkeypatch.setattr(region_index, '_CHUNK', 100)
    index = made[0]
    index._halves = halves
    queries = F.normalize(torch.randn(3, 16), dim=1)
    scores, rows = index.search(queries, topk)
    exact = queries.numpy() @ index.features.astype(np.float32).T
    order = np.sort(exact, axis=1)[:, ::-1][:, :topk]
    assert np.abs(scores.numpy() - order).max() < 1e-6
    own = np.take_along_axis(exact, rows.numpy(), 1)
    assert np.abs(scores.numpy() - own).max() < 1e-6
    assert all(len(set(each)) == len(each) for each in rows.tolist())


@needs_halves
def test_half_precision_decides_nothing(tmp_path):
    """Rows apart by less than float16 tells a sum."""
    features = np.zeros((40, 600), np.float32)
    features[:, :512] = 0.044
    features[:, 512] = np.linspace(0, 0.01, 40)
    index = RegionIndex.write(
        str(tmp_path / 'index'),
        ['a.jpg'],
        iter([(0, np.zeros((40, 4)), features)]),
        600,
    )
    index._halves = True
    query = torch.zeros(1, 600)
    query[0, :512] = 0.044
    query[0, 512] = 0.01
    rows = index.search(query, 3)[1]
    assert rows.tolist() == [[39, 38, 37]]


def test_an_index_without_regions(tmp_path):
    folder = str(tmp_path / 'index')
    index = RegionIndex.write(folder, ['a.jpg'], iter(()), 16)
    scores, rows = index.search(torch.zeros(2, 16), 5)
    assert scores.shape == rows.shape == (2, 0)


def test_nothing_half_written_is_left(tmp_path):
    def broken():
        yield 0, np.zeros((1, 4)), np.zeros((1, 16))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RegionIndex.write(str(tmp_path / 'index'), ['a.jpg'], broken(), 16)
    assert not list(tmp_path.iterdir())


def test_an_index_is_never_overwritten(made):
    with pytest.raises(UsageError, match='exists'):
        RegionIndex.write(made[0].folder, [], iter(()), 16)


def test_damage_is_told(made, tmp_path):
    folder = Path(made[0].folder)
    with pytest.raises(DataError, match='build it first'):
        RegionIndex(str(tmp_path / 'absent'))
    (folder / 'features.f16').write_bytes(b'12')
    with pytest.raises(DataError, match=r'features\.f16 has not 1000 rows'):
        RegionIndex(str(folder))
    about = json.loads((folder / 'index.json').read_text())
    (folder / 'index.json').write_text(json.dumps({**about, 'format': 9}))
    with pytest.raises(DataError, match='format 9'):
        RegionIndex(str(folder))
