"""Words that find regions of a folder."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from harmoclip_mm.apis import (
    RegionClassificationInferencer,
    RegionRetrievalInferencer,
)
from harmoclip_mm.errors import CheckpointError, DataError, UsageError

TEXTS = ['dog', 'red car']


@pytest.fixture(scope='module')
def retrieve(tiny_clip):
    return RegionRetrievalInferencer(
        tiny_clip, device='cpu', show_progress=False
    )


@torch.no_grad()
def test_the_best_regions_by_hand(retrieve, pictures, tmp_path):
    folder = str(tmp_path / 'index')
    index = retrieve.build_index(str(pictures), folder, 2, batch_size=2)
    assert index.features.shape == (3 * 5, 24)
    result = retrieve(
        TEXTS, folder, topk=4, return_vis=True, out_dir=str(tmp_path)
    )
    # the other inferencer's similarities of the same boxes
    model = retrieve.model
    classify = RegionClassificationInferencer(
        model, device='cpu', templates='none', show_progress=False
    )
    paths = [str(path) for path in sorted(pictures.iterdir())]
    texts, every = model.encode_text(TEXTS), []
    for path in paths:
        _, boxes, sample = classify.load_regions(path, 2)
        (rows,) = classify.encode_regions([sample])
        every += [
            (cosines.tolist(), path, box)
            for cosines, box in zip(rows @ texts.T, boxes.bboxes.tolist())
        ]
    for number, hits in enumerate(result['predictions']):
        expected = sorted(every, key=lambda row: -row[0][number])[:4]
        assert [hit['img_path'] for hit in hits] == [e[1] for e in expected]
        assert [hit['bbox'] for hit in hits] == [e[2] for e in expected]
        for hit, (cosines, *_) in zip(hits, expected):
            assert abs(hit['score'] - cosines[number]) < 1e-3  # float16
    written = json.loads((tmp_path / 'predictions.json').read_text())
    assert [each['text'] for each in written] == TEXTS
    assert [each['regions'] for each in written] == result['predictions']
    assert len(result['visualization']) == 2
    assert len(list((tmp_path / 'vis').iterdir())) == 2


def test_regions_of_a_file_and_pictures_of_folders(
    retrieve, pictures, tmp_path
):
    (tmp_path / 'in').mkdir()
    for number in range(2):
        Image.open(pictures / f'{number}.png').save(
            tmp_path / 'in' / f'{number}.png'
        )
    content = dict(
        images=[dict(id=5, file_name='in/1.png')],
        annotations=[dict(image_id=5, bbox=[8, 6, 32, 30])],
    )
    file = tmp_path / 'boxes.json'
    file.write_text(json.dumps(content))
    index = str(tmp_path / 'index')
    retrieve.build_index(str(tmp_path), index, str(file))
    ((hit,),) = retrieve('dog', index)['predictions']
    assert hit['bbox'] == [8, 6, 40, 36]
    assert hit['img_path'] == str(tmp_path / 'in' / '1.png')
    every = retrieve.build_index(str(tmp_path), str(tmp_path / 'all'), 1)
    assert len(every.features) == 2


def test_broken_pictures_are_counted(retrieve, pictures, tmp_path):
    (tmp_path / '0.jpg').write_bytes(b'no picture')
    Image.open(pictures / '1.png').save(tmp_path / '1.png')
    index = retrieve.build_index(str(tmp_path), str(tmp_path / 'index'), 1)
    assert len(index.features) == 1
    ((hit,),) = retrieve('dog', index)['predictions']
    assert hit['img_path'] == str(tmp_path / '1.png')
    (tmp_path / '1.png').unlink()
    with pytest.raises(DataError, match=r'no image can be used.*0\.jpg'):
        retrieve.build_index(str(tmp_path), str(tmp_path / 'other'), 1)
    assert not (tmp_path / 'other').exists()


def test_without_images_or_regions(retrieve, pictures, tmp_path):
    with pytest.raises(DataError, match='there is none'):
        retrieve.build_index([], tmp_path / 'none')
    boxes = [np.zeros((0, 4))]
    image, folder = pictures / '0.png', tmp_path / 'index'
    assert not len(retrieve.build_index(image, folder, boxes).features)
    found = retrieve('dog', folder, return_vis=True, out_dir=tmp_path)
    assert found['predictions'] == [[]]
    assert len(found['visualization']) == 1  # the text above nothing


def test_what_does_not_fit_is_an_error(
    retrieve, tiny_siglip, pictures, tmp_path
):
    index = str(tmp_path / 'index')
    with pytest.raises(DataError, match='build it first'):
        retrieve('dog', index)
    retrieve.build_index(str(pictures), index, 1)
    with pytest.raises(UsageError, match='exists'):
        retrieve.build_index(str(pictures), index, 1)
    with pytest.raises(DataError, match='no arrays'):
        picture = np.zeros((9, 9, 3), np.uint8)
        retrieve.build_index(picture, str(tmp_path / 'other'), 1)
    with pytest.raises(UsageError, match='at least one text'):
        retrieve([], index)
    other = RegionRetrievalInferencer(tiny_siglip, device='cpu')
    with pytest.raises(CheckpointError, match='another text tower'):
        other('dog', index)
