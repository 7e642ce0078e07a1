"""What --out wrote comes back; what runs code or is no dump does not."""

import json
import os
import pickle

import numpy as np
import pytest
import torch

from harmoclip_mm.errors import UsageError
from harmoclip_mm.evaluation import (
    DumpRegionResults,
    load_results,
    save_metrics,
)


def sample(image='a', boxes=2):
    """A sample as mmengine hands it to a metric."""
    topk = torch.arange(3).repeat(boxes, 1)
    return {
        'img_id': image,
        'img_path': f'/{image}.png',
        'ori_shape': (4, 5),
        'scale_factor': np.array([1.0, 2.0]),
        'odd': np.float32(1.5),
        'gt_instances': {
            'bboxes': torch.arange(4.0).repeat(boxes, 1),
            'labels': torch.ones(boxes, dtype=torch.int64),
        },
        'pred_instances': {
            'bboxes': torch.zeros(boxes, 4),
            'labels': topk[:, 0],
            'scores': torch.full((boxes,), 0.5, dtype=torch.bfloat16),
            'topk_labels': topk,
            'topk_scores': torch.full((boxes, 3), 0.25),
        },
    }


@pytest.fixture
def dump(tmp_path):
    def write(*samples):
        path = tmp_path / 'results.pkl'
        metric = DumpRegionResults(out_file_path=str(path))
        metric.dataset_meta = {'classes': ('a', 'b', 'c')}
        metric.process(None, samples)
        metric.evaluate(len(samples))
        return str(path)

    return write


def test_what_was_dumped_comes_back(dump):
    records = load_results(dump(sample('a'), sample('b', boxes=0)))
    assert [record['img_id'] for record in records] == ['a', 'b']
    first, second = records
    assert first['gt_instances']['bboxes'].tolist() == [[0, 0, 0, 0]] * 2
    assert first['pred_instances']['topk_labels'].tolist() == [[0, 1, 2]] * 2
    assert first['pred_instances']['scores'].tolist() == [0.5, 0.5]
    assert isinstance(first['pred_instances']['labels'], np.ndarray)
    assert first['ori_shape'] == (4, 5) and first['odd'] == 1.5
    assert first['scale_factor'].tolist() == [1, 2]
    assert second['gt_instances']['labels'].shape == (0,)


def test_a_file_of_the_other_numpy(dump):
    """The core moved from numpy.core to numpy._core; both are read."""
    path = dump(sample())
    with open(path, 'rb') as file:
        records = pickle.load(file)
    data = pickle.dumps(records, protocol=2)  # names as text
    old = b'numpy._core.multiarray', b'numpy.core.multiarray'
    given = next(name for name in old if name in data)
    other = old[1] if given == old[0] else old[0]
    with open(path, 'wb') as file:
        file.write(data.replace(given, other))
    (record,) = load_results(path)
    assert record['scale_factor'].tolist() == [1, 2]


class _Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize('inside', ['list', 'tensor'])
def test_code_is_not_run(tmp_path, inside):
    """Neither of the pickle nor of one within the bytes of a tensor."""
    trap = tmp_path / 'trap'
    bomb = _Bomb(str(trap))
    if inside == 'tensor':
        data = pickle.dumps(bomb)

        class Storage:
            def __reduce__(self):
                return torch.storage._load_from_bytes, (data,)

        bomb = Storage()
    path = tmp_path / 'bad.pkl'
    path.write_bytes(pickle.dumps([bomb]))
    with pytest.raises(UsageError, match=r'bad\.pkl .*(damaged|run code)'):
        load_results(str(path))
    assert not trap.exists()
    if inside == 'list':
        pickle.loads(path.read_bytes())
        assert trap.exists()  # the trap was one


@pytest.mark.parametrize(
    'content, message',
    [
        (b'', 'damaged or incomplete'),
        (b'not a pickle', 'damaged'),
        (pickle.dumps([]), 'holds no image'),
        (pickle.dumps({'top1': 5}), 'holds no list'),
        (pickle.dumps([1]), 'record 0 holds no boxes'),
        (
            pickle.dumps([{'img_id': 7, 'gt_instances': {}}]),
            'record 0 holds no boxes .*pred_instances',
        ),
    ],
)
def test_what_is_no_dump(tmp_path, content, message):
    path = tmp_path / 'bad.pkl'
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        load_results(str(path))
    text = str(caught.value)
    assert str(path) in text and 'tools/test.py --out' in text


def test_a_file_that_is_cut_off_or_missing(dump, tmp_path):
    path = dump(sample())
    with open(path, 'rb+') as file:
        file.truncate(os.path.getsize(path) - 100)
    with pytest.raises(UsageError, match='damaged'):
        load_results(path)
    with pytest.raises(UsageError, match='does not exist'):
        load_results(str(tmp_path / 'none.pkl'))


def test_a_detectors_results_are_refused(dump):
    detections = sample()
    for key, value in detections['pred_instances'].items():
        detections['pred_instances'][key] = value[:1]
    with pytest.raises(UsageError, match='record 0: 1 predictions for 2'):
        load_results(dump(detections))
    no_boxes = sample()
    del no_boxes['pred_instances']
    with pytest.raises(UsageError, match='pred_instances'):
        load_results(dump(no_boxes))


def test_the_best_class_alone(dump):
    """As of a model that gives no ranking."""
    plain = sample()
    for key in ('topk_labels', 'topk_scores'):
        del plain['pred_instances'][key]
    (record,) = load_results(dump(plain))
    pred = record['pred_instances']
    assert pred['topk_labels'].tolist() == [[0], [0]]
    assert pred['topk_scores'].tolist() == [[0.5], [0.5]]


def test_boxes_with_texts_of_their_own_are_refused(dump):
    """A label of FG-OVD is an index into the texts of its image."""
    texts = sample()
    texts['pred_instances']['candidate_logits'] = torch.zeros(2, 11)
    with pytest.raises(UsageError, match=r'record 0: .*FG-OVD'):
        load_results(dump(texts))


def test_numbers_of_any_kind_become_json(tmp_path):
    path = tmp_path / 'new' / 'metrics.json'
    metrics = {
        'a': 1,
        'b': np.float32(0.5),
        'c': torch.tensor(2.0),
        'd': float('nan'),
        'e': np.inf,
    }
    save_metrics(metrics, str(path))
    expected = {'a': 1.0, 'b': 0.5, 'c': 2.0, 'd': None, 'e': None}
    assert json.loads(path.read_text()) == expected
    assert [p.name for p in path.parent.iterdir()] == ['metrics.json']


def test_what_is_no_number_is_refused(tmp_path):
    path = tmp_path / 'metrics.json'
    with pytest.raises((TypeError, ValueError)):
        save_metrics({'a': [1, 2]}, str(path))
    assert not path.exists()
