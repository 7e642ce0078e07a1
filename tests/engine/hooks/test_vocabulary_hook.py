"""The hook that compares data sets with a detector's vocabulary."""

import json
from types import SimpleNamespace

import pytest
from mmdet.datasets import CocoDataset
from mmengine.dataset import ConcatDataset, RepeatDataset

from harmoclip_mm.engine.hooks.vocabulary_hook import (
    VocabularyHook,
    check_classes,
    classes_without_boxes,
)
from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.classifiers import TextEmbeddings
from harmoclip_mm.models.detection import VocabularyMemory, split_vocabulary

NAMES = ['dog', 'cat', 'red_car']


@pytest.fixture
def dataset(tmp_path):
    """Builds a real data set of a file with dog, cat and red_car."""
    content = dict(
        images=[dict(id=1, file_name='1.jpg', width=40, height=30)],
        categories=[dict(id=5 + i, name=n) for i, n in enumerate(NAMES)],
        annotations=[
            dict(
                id=number,
                image_id=1,
                category_id=category,
                bbox=[1, 1, 9, 9],
                area=81,
                iscrowd=crowd,
            )
            for number, category, crowd in ((1, 5, 0), (2, 6, 1))
        ],
    )
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps(content))

    def build(*classes):
        return CocoDataset(
            data_prefix=dict(img=''),
            ann_file=str(path),
            metainfo=dict(classes=classes),
            pipeline=[],
        )

    return build


class Detector:
    """What the hook asks of a detector, around a real memory."""

    def __init__(self):
        self.memory = VocabularyMemory(
            split_vocabulary(NAMES, novel=['cat']), 4
        )

    def set_vocabulary(self, classes):
        split = split_vocabulary(classes)
        rows = self.memory.embeddings.new_zeros(len(classes), 4)
        found = TextEmbeddings(rows, tuple(classes), (), 'eot', '', '')
        self.memory.replace_classes(split.vocabulary, found)


def run(stage, dataset, **kwargs):
    runner = SimpleNamespace(model=Detector())
    name = f'{stage}_dataloader'
    setattr(runner, name, SimpleNamespace(dataset=dataset))
    getattr(VocabularyHook(**kwargs), f'before_{stage}')(runner)


def test_training_has_the_base_classes(dataset):
    run('train', dataset('dog', 'red_car'))
    with pytest.raises(UsageError, match=r'training data set .* 3 classes, n'):
        run('train', dataset(*NAMES))


@pytest.mark.parametrize('stage', ['val', 'test'])
def test_evaluation_has_all_classes(dataset, stage):
    run(stage, dataset(*NAMES))
    with pytest.raises(UsageError, match='2 classes, not 3'):
        run(stage, dataset('dog', 'red_car'))


def test_a_test_may_bring_its_vocabulary(dataset):
    run(
        'test',
        dataset('cat', 'red_car'),
        test_vocabulary=dict(classes=['cat', 'red_car']),
    )


def test_order_of_names(dataset):
    with pytest.raises(UsageError, match="class 'cat' as label 0, not 'dog'"):
        check_classes(dataset('cat', 'dog'), ['dog', 'cat'], 'a', 'b')


def test_order_of_the_file(dataset):
    """mmdet gives label 0 to dog here, whatever the names' order says."""
    data = dataset('cat', 'dog')
    assert data.get_data_info(0)['instances'][0]['bbox_label'] == 0
    with pytest.raises(UsageError, match=r'file .*instances\.json, by whose'):
        check_classes(data, ['cat', 'dog'], 'a', 'b')


def test_classes_without_boxes(dataset):
    """A crowd is no training box; wrappers are looked through."""
    data = dataset(*NAMES)
    repeated = RepeatDataset(dataset(*NAMES), 2)
    joined = ConcatDataset([data, dataset(*NAMES)])
    for each in (data, repeated, joined):
        assert classes_without_boxes(each, NAMES) == ['cat', 'red_car']
    check_classes(joined, NAMES, 'a', 'b')


def test_base_classes_without_boxes_are_logged(dataset, monkeypatch):
    logged = []
    monkeypatch.setattr(
        'harmoclip_mm.engine.hooks.vocabulary_hook.print_log',
        lambda text, **kwargs: logged.append(text),
    )
    run('train', dataset('dog', 'red_car'))
    (text,) = logged
    assert '1 of 2 base classes have no box' in text and "['red_car']" in text
