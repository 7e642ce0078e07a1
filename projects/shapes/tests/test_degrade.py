import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from harmoclip_mm.registry import TRANSFORMS
from harmoclip_mm.text import phrases_of
from shapes import degrade  # noqa: F401


def sample(index: int, count: int = 3) -> dict:
    corner = np.arange(count, dtype=np.float32)[:, None] * 10
    boxes = np.concatenate([corner, corner, corner + 8, corner + 6], axis=1)
    return dict(
        img_path=f'/data/{index:04d}.jpg',
        img_shape=(48, 64),
        gt_bboxes=HorizontalBoxes(boxes),
        gt_bboxes_labels=np.arange(count),
        gt_ignore_flags=np.zeros(count, dtype=bool),
        text='a dog',
        phrases={
            label: dict(phrase='dog', tokens_positive=[[2, 5]])
            for label in range(count)
        },
    )


def boxes_after(transform, index, count=3):
    return transform(sample(index, count))['gt_bboxes'].tensor


@pytest.mark.parametrize('prob', [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize('count', [1, 2, 4])
def test_share_of_wrong_links(harmoclip_scope, prob, count):
    transform = TRANSFORMS.build(dict(type='MislinkRegions', prob=prob))
    before = sample(0, count)['gt_bboxes'].tensor
    wrong = []
    for index in range(300):
        after = boxes_after(transform, index, count)
        assert after.dtype == before.dtype and after.shape == before.shape
        wrong += (after != before).any(1).tolist()
        if count > 1:  # boxes of the image, none made up
            assert all(row in before.tolist() for row in after.tolist())
        else:
            assert torch.allclose(
                after[:, 2:] - after[:, :2], torch.tensor([[8.0, 6.0]])
            )
            assert after.min() >= 0
            assert (after[:, 2:] <= torch.tensor([64.0, 48.0])).all()
    # four standard errors of the smallest sample
    error = 4 * (prob * (1 - prob) / 300) ** 0.5
    assert abs(np.mean(wrong) - prob) <= error


def test_all_other_boxes_are_drawn():
    transform = TRANSFORMS.build(
        dict(type='harmoclip_mm.MislinkRegions', prob=1.0)
    )
    corners = {boxes_after(transform, i, 4)[1, 0].item() for i in range(50)}
    assert corners == {0.0, 20.0, 30.0}


@pytest.mark.parametrize('prob', [0.2, 0.5])
def test_scores_are_calibrated_and_no_oracle(harmoclip_scope, prob):
    plain = TRANSFORMS.build(dict(type='MislinkRegions', prob=prob))
    scored = TRANSFORMS.build(
        dict(type='MislinkRegions', prob=prob, scored=True)
    )
    right, scores = [], []
    for index in range(3000):
        before = sample(index, 3)['gt_bboxes'].tensor
        results = scored(sample(index, 3))
        after = results['gt_bboxes'].tensor
        right += (after == before).all(1).tolist()
        scores += results['gt_scores'].tolist()
        if index < 50:  # the same links are wrong
            assert boxes_after(plain, index, 3).tolist() == after.tolist()
    right, scores = np.array(right), np.array(scores)
    for low in (0.2, 0.5, 0.8):
        chosen = (scores >= low) & (scores < low + 0.2)
        error = 4 * np.sqrt(0.25 / chosen.sum())
        assert abs(right[chosen].mean() - scores[chosen].mean()) < error
    # A right link beats a wrong one 4 times in 5 or a little more.
    beaten = scores[right][:, None] > scores[~right]
    assert 0.75 < beaten.mean() < 0.9


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='harmoclip_mm.MislinkRegions', prob=0.5),
        dict(type='harmoclip_mm.MislinkRegions', prob=0.5, scored=True),
        dict(type='harmoclip_mm.KeepRegionsOfSome', share=0.5),
    ],
)
def test_a_sample_is_always_treated_alike(cfg):
    first, again = TRANSFORMS.build(cfg), TRANSFORMS.build(cfg)
    other = TRANSFORMS.build(dict(cfg, seed=1))
    runs = []
    for transform in (first, again, first, other):
        np.random.seed(len(runs))  # of no influence
        runs.append([boxes_after(transform, i).tolist() for i in range(40)])
    assert runs[0] == runs[1] == runs[2] != runs[3]


def test_shares_of_images_are_nested():
    kept = {}
    for share in (0.0, 0.1, 0.3, 1.0):
        transform = TRANSFORMS.build(
            dict(type='harmoclip_mm.KeepRegionsOfSome', share=share)
        )
        results = [transform(sample(i)) for i in range(1000)]
        counts = np.array([len(each['gt_bboxes']) for each in results])
        assert set(counts.tolist()) <= {0, 3}
        for each in results:
            assert len(each['gt_bboxes_labels']) == len(each['gt_bboxes'])
        kept[share] = counts > 0
        error = 4 * (share * (1 - share) / 1000) ** 0.5
        assert abs(kept[share].mean() - share) <= error
    assert not (kept[0.1] & ~kept[0.3]).any()


def test_colours_are_left_to_the_captions(harmoclip_scope):
    caption = 'a plain blue star beside a small red circle'
    results = dict(
        sample(0, 2),
        text=caption,
        phrases={
            0: dict(phrase='small red circle', tokens_positive=[[27, 43]]),
            1: dict(phrase='plain blue star', tokens_positive=[[2, 17]]),
        },
    )
    results = TRANSFORMS.build(dict(type='ElideColours'))(results)
    text = results['text']
    assert text == 'in blue a plain star and in red a small circle'
    spans = [p['tokens_positive'] for p in results['phrases'].values()]
    assert [text[slice(*span)] for (span,) in spans] == [
        'small circle',
        'plain star',
    ]
    assert phrases_of(results) == ['small circle', 'plain star']


def test_senseless_arguments_are_refused(harmoclip_scope):
    with pytest.raises(ValueError, match='prob must be'):
        TRANSFORMS.build(dict(type='MislinkRegions', prob=1.5))
    with pytest.raises(ValueError, match='need no scores'):
        TRANSFORMS.build(dict(type='MislinkRegions', prob=1, scored=True))
    with pytest.raises(ValueError, match='share must be'):
        TRANSFORMS.build(dict(type='KeepRegionsOfSome', share=-0.1))
    transform = TRANSFORMS.build(dict(type='MislinkRegions', prob=0.5))
    with pytest.raises(ValueError, match='not masks'):
        transform(dict(sample(0), gt_masks=[1]))
