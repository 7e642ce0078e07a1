"""Divergence from a teacher over the concepts of a batch."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models.losses.concept_distillation_loss import (
    ConceptDistillationLoss,
    pool_concepts,
)


def unit(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return F.normalize(rows, dim=-1)


def test_kl_by_hand():
    # Teacher (3/4, 1/4), student (1/2, 1/2):
    # 3/4 log(3/2) + 1/4 log(1/2) = 0.304099 - 0.173287 = 0.130812.
    # The second row is equal in both: 0. The concepts are the axes, so that
    # rows are logits.
    teacher = torch.tensor([[math.log(3.0), 0.0], [5.0, 2.0]])
    student = torch.tensor([[0.0, 0.0], [5.0, 2.0]], requires_grad=True)
    loss = ConceptDistillationLoss(2.0)(
        student, teacher, torch.eye(2), torch.arange(2), torch.tensor(1.0)
    )
    assert loss.item() == pytest.approx(0.130812, abs=1e-6)
    loss.backward()
    # softmax of the student minus that of the teacher
    expected = torch.tensor([[0.5 - 0.75, 0.5 - 0.25], [0.0, 0.0]])
    torch.testing.assert_close(student.grad, expected)


def test_concepts_are_means_of_equal_keys():
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    found, place = pool_concepts(rows, torch.tensor([9, 9, 4]))
    assert place.tolist() == [1, 1, 0]
    half = math.sqrt(0.5)
    expected = torch.tensor([[0.0, 1.0], [half, half]])  # keys 4 and 9
    torch.testing.assert_close(found, expected)


def numpy_loss(regions, teacher, phrases, keys, scale):
    """The definition, region by region, in float64."""
    concepts = []
    for key in sorted(set(keys)):
        mean = sum(p for p, k in zip(phrases, keys) if k == key)
        concepts.append(mean / np.sqrt((mean**2).sum()))
    total = 0.0
    for student_row, teacher_row in zip(regions, teacher):
        probabilities = []
        for row in (teacher_row, student_row):
            powers = [math.exp(scale * float(row @ c)) for c in concepts]
            probabilities.append([p / sum(powers) for p in powers])
        for p, q in zip(*probabilities):
            total += p * math.log(p / q)
    return total / len(regions)


def test_against_numpy():
    regions, teacher, phrases = (unit(9, 5, seed=i) for i in range(3))
    keys = torch.tensor([3, 1, 3, 7, 7, 7, 2, 1, 8])
    scale = torch.tensor(6.0, dtype=torch.float64)
    loss = ConceptDistillationLoss(2.0)(regions, teacher, phrases, keys, scale)
    expected = numpy_loss(
        regions.numpy(), teacher.numpy(), phrases.numpy(), keys.tolist(), 6.0
    )
    assert loss.item() == pytest.approx(2 * expected, rel=1e-12)


def test_gradients():
    regions, teacher, phrases = (unit(5, 3, seed=i) for i in range(3))
    keys = torch.tensor([0, 1, 0, 2, 3])
    scale = torch.tensor(2.0, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda a: ConceptDistillationLoss()(a, teacher, phrases, keys, scale),
        regions.requires_grad_(),
    )
    teacher.requires_grad_()
    loss = ConceptDistillationLoss()(regions, teacher, phrases, keys, scale)
    loss.backward()
    assert teacher.grad is None  # a target


def test_the_teacher_itself_has_no_loss():
    regions, phrases = unit(4, 3, seed=0), unit(4, 3, seed=1)
    loss = ConceptDistillationLoss()(
        regions, regions, phrases, torch.arange(4), torch.tensor(9.0)
    )
    assert loss.item() == pytest.approx(0, abs=1e-12)


def test_without_regions():
    empty = torch.zeros(0, 8, requires_grad=True)
    keys = torch.zeros(0, dtype=torch.long)
    loss = ConceptDistillationLoss()(
        empty, empty, empty, keys, torch.tensor(2.0)
    )
    assert loss.item() == 0
    loss.backward()
