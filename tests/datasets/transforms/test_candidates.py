import json

import numpy as np
import open_clip
import pytest
import torch
from mmengine.fileio import LocalBackend, register_backend

from harmoclip_mm.datasets.transforms import (
    LoadCandidateBoxes,
    LoadCaptions,
    TokenizeCandidates,
)
from harmoclip_mm.errors import DataError
from harmoclip_mm.text import phrases_of

RESULTS = [
    {'image_id': 12, 'bbox': [1, 2, 3, 4], 'score': 0.2},
    {'image_id': 12, 'bbox': [5, 6, 7, 8], 'score': 0.9},
    {'image_id': 12, 'bbox': [5, 6, 0, 8], 'score': 0.9},  # empty
]
ANNOTATIONS = {
    'images': [{'id': 3, 'file_name': 'a_000012.jpg'}],
    'annotations': [
        {'image_id': 3, 'bbox': [1, 2, 3, 4]},
        {'image_id': 3, 'bbox': [5, 6, 7, 8], 'iscrowd': 0},
        {'image_id': 3, 'bbox': [0, 0, 9, 9], 'iscrowd': 1},
    ],
}


@pytest.fixture
def load(tmp_path):
    def _load(content, name='root/a_000012.jpg', **kwargs):
        path = tmp_path / 'boxes.json'
        path.write_text(json.dumps(content))
        transform = LoadCandidateBoxes(str(path), **kwargs)
        return transform({'img_path': name, 'scale_factor': (2.0, 0.5)})

    return _load


def test_boxes_of_both_formats_are_scaled(load):
    # x and widths times 2, y and heights times 1/2
    boxes = [[2, 1, 8, 3], [10, 3, 24, 7]]
    results = load(ANNOTATIONS)
    assert results['proposals'].tolist() == boxes
    assert results['proposals_scores'].tolist() == [1, 1]
    assert results['proposals'].dtype == np.float32
    results = load(RESULTS)
    assert results['proposals'].tolist() == boxes
    assert np.allclose(results['proposals_scores'], [0.2, 0.9])


@pytest.mark.parametrize(
    ('content', 'name', 'message'),
    [
        (RESULTS, 'b_13.jpg', r'holds no box for b_13.jpg \(image_id 13\)'),
        (RESULTS, 'photo.jpg', r'image_id None'),
        (ANNOTATIONS, 'a_13.jpg', r'holds no box for a_13.jpg'),
        ({'images': []}, 'a.jpg', "no list 'annotations'"),
        ([{'bbox': [1]}], 'a.jpg', "'image_id' is missing"),
        ([{'image_id': 1, 'bbox': [1]}], 'a.jpg', "'bbox' must be four"),
        ([], 'a_1.jpg', 'holds no box for'),
    ],
)
def test_what_is_wrong_is_said(load, content, name, message):
    with pytest.raises(ValueError, match=message):
        load(content, name)


def test_a_missing_file():
    with pytest.raises(DataError, match=r'^no\.json cannot be read .No such'):
        LoadCandidateBoxes('no.json')


def test_images_of_one_name_are_told_by_their_folders(load):
    images = [{'id': i, 'file_name': f'{i}/a.jpg'} for i in (1, 2)]
    boxes = [
        {'id': i, 'image_id': i, 'bbox': [0, 0, 4, 4 * i]} for i in (1, 2)
    ]
    content = {'images': images, 'annotations': boxes}
    for i in (1, 2):
        found = load(content, f'root/{i}/a.jpg')['proposals']
        assert found.tolist() == [[0, 0, 8, 2 * i]]
    with pytest.raises(DataError, match='no box for'):
        load(content, 'root/3/a.jpg')
    images[1]['file_name'] = '1/a.jpg'
    with pytest.raises(DataError, match=r'several images that root/1/a.jpg'):
        load(content, 'root/1/a.jpg')


def test_a_text_is_the_only_candidate():
    results = TokenizeCandidates('ViT-B-16')(
        {'text': 'the left dog', 'gt_bboxes_labels': np.array([5, 5])}
    )
    assert phrases_of(results) == ['the left dog']
    assert results['gt_bboxes_labels'].tolist() == [0, 0]
    ids = open_clip.tokenize(['the left dog'])
    assert torch.equal(results['candidate_ids'], ids)
    assert not {'gt_candidate_mask', 'gt_subset_ids'} & set(results)


def test_phrases_without_a_box_are_kept():
    results = TokenizeCandidates('ViT-B-16')(
        {
            'phrases': {i: {'phrase': each} for i, each in enumerate('abc')},
            'instances': [
                {'candidates': [0, 2], 'subset': 1},
                {'candidates': [1], 'subset': 0},
            ],
        }
    )
    assert results['candidate_ids'].shape == (3, 77)
    mask = [[True, False, True], [False, True, False]]
    assert results['gt_candidate_mask'].tolist() == mask
    assert results['gt_subset_ids'].tolist() == [1, 0]


def test_files_of_other_backends(tmp_path):
    """An address stays what it is."""

    class Store(LocalBackend):
        def get(self, filepath):
            return super().get(filepath.replace('s3x://', f'{tmp_path}/'))

    register_backend('test_candidates', Store, prefixes='s3x', force=True)
    texts = {'image_id': 12, 'caption': 'a dog'}
    content = {**ANNOTATIONS, 'annotations': [dict(texts, id=1)]}
    content['images'] = [dict(id=12, file_name='a_12.jpg')]
    (tmp_path / 'texts.json').write_text(json.dumps(content))
    load = LoadCaptions('s3x://texts.json')
    assert load({'img_id': 12})['captions'] == ['a dog']
    (tmp_path / 'boxes.json').write_text(json.dumps(RESULTS))
    assert LoadCandidateBoxes('s3x://boxes.json').boxes
