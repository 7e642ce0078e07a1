"""Federated cross entropy."""

import json
import math

import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.errors import DataError
from harmoclip_mm.models.losses.federated_loss import (
    federated_cross_entropy,
    read_frequencies,
    sample_classes,
)
from harmoclip_mm.registry import MODELS


def build(frequencies, **kwargs):
    return MODELS.build(
        dict(
            type='FederatedCrossEntropyLoss',
            frequencies=str(frequencies),
            **kwargs,
        )
    )


@pytest.fixture
def file_of(tmp_path):
    """Makes a file of as many categories as counts."""

    def write(*counts):
        categories = [
            dict(id=number, name=f'class {number}', image_count=count)
            for number, count in enumerate(counts)
        ]
        (tmp_path / 'lvis.json').write_text(json.dumps(categories))
        return tmp_path / 'lvis.json'

    return write


def test_by_hand():
    # Classes 0 and 2 are taken, 1 is not; class 3 is the background.
    score = torch.tensor([[0.0, 9.0, math.log(2), math.log(3)]])
    taken = torch.tensor([True, False, True])
    # exp: 1, (left out), 2, 3 -> softmax 1/6, 2/6, 3/6
    for label, probability in ((0, 1 / 6), (2, 2 / 6), (3, 3 / 6)):
        loss = federated_cross_entropy(score, torch.tensor([label]), taken)
        torch.testing.assert_close(
            loss, torch.tensor([-math.log(probability)])
        )


def test_equals_cross_entropy_of_the_columns():
    score = torch.randn(7, 11, dtype=torch.float64, requires_grad=True)
    taken = torch.tensor([True, False] * 5)
    labels = torch.tensor([0, 2, 8, 10, 10, 4, 6])
    columns = torch.tensor([0, 2, 4, 6, 8, 10])
    place = {int(column): i for i, column in enumerate(columns)}
    expected = F.cross_entropy(
        score[:, columns],
        torch.tensor([place[int(label)] for label in labels]),
        reduction='none',
    )
    found = federated_cross_entropy(score, labels, taken)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.sum(), score, retain_graph=True)
    torch.testing.assert_close(
        gradient, torch.autograd.grad(expected.sum(), score)[0]
    )
    assert (gradient[:, 1:10:2] == 0).all()


def test_classes_that_appear_are_always_taken():
    labels = torch.tensor([3, 3, 7, 10, -1])  # 10: background, -1: ignored
    for seed in range(20):
        torch.manual_seed(seed)
        taken = sample_classes(labels, torch.ones(10), 4)
        assert taken[[3, 7]].all() and taken.sum() == 4


def test_more_appear_than_are_wanted():
    taken = sample_classes(torch.arange(5), torch.ones(9), 3)
    assert taken.tolist() == [True] * 5 + [False] * 4


def test_classes_without_images_are_never_added():
    weights = torch.tensor([1.0, 0.0, 2.0, 0.0])
    taken = sample_classes(torch.tensor([4]), weights, 4)
    assert taken.tolist() == [True, False, True, False]


def test_draws_go_by_the_square_root_of_the_frequency():
    weights = torch.tensor([1.0, 4.0, 25.0]) ** 0.5
    torch.manual_seed(0)
    counts = sum(
        sample_classes(torch.tensor([3]), weights, 1).long()
        for _ in range(4000)
    )
    # 1 : 2 : 5 of 4000, within four standard deviations (about 31)
    assert (counts - torch.tensor([500, 1000, 2500])).abs().max() < 125


def test_a_seed_repeats_the_draw(file_of):
    loss = build(file_of(*[1] * 40), num_sampled=5)
    score, label = torch.randn(6, 41), torch.tensor([1, 2, 40, 40, 3, 1])
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(loss(score, label))
    assert values[0] == values[1] != values[2]


def test_all_classes_make_plain_cross_entropy(file_of):
    """As mmdet's, with weights of rows and its divisor."""
    plain = MODELS.build(dict(type='mmdet.CrossEntropyLoss', loss_weight=2.0))
    loss = build(file_of(*[1] * 6), num_sampled=6, loss_weight=2.0)
    score, label = torch.randn(5, 7), torch.tensor([0, 6, 6, 2, 5])
    weight = torch.tensor([1.0, 1.0, 0.0, 0.5, 1.0])
    for reduction in (None, 'none'):
        factor = 4.0 if reduction is None else None
        torch.testing.assert_close(
            loss(score, label, weight, factor, reduction),
            plain(score, label, weight, factor, reduction),
        )


def test_frequencies_of_a_file_follow_the_classes(tmp_path):
    names = [('cat', 3, 9), ('dog', 1, 4), ('axe', 2, 1)]
    categories = [
        dict(name=name, id=number, image_count=count)
        for name, number, count in names
    ]
    file = tmp_path / 'lvis.json'
    file.write_text(json.dumps(dict(images=[], categories=categories)))
    assert list(read_frequencies(str(file))) == ['dog', 'axe', 'cat']
    loss = build(file)
    loss.bind_classes(['cat', 'dog'])
    assert loss.weights.tolist() == [3.0, 2.0]
    with pytest.raises(ValueError, match="no class 'cow'"):
        loss.bind_classes(['cat', 'cow'])
    with pytest.raises(ValueError, match='3 classes are scored, but 2'):
        loss(torch.zeros(1, 4), torch.tensor([0]))


def test_errors(tmp_path, file_of):
    with pytest.raises(DataError, match=r'none\.json cannot be read'):
        build(tmp_path / 'none.json')
    (tmp_path / 'coco.json').write_text('{"categories": [{"id": 1}]}')
    with pytest.raises(DataError, match='image_count'):
        build(tmp_path / 'coco.json')
    with pytest.raises(DataError, match=r"'class 1'.* -1, below 0"):
        build(file_of(3, -1))
