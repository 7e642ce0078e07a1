"""Joining the detector with the dense map."""

import numpy as np
import pytest
import torch
from mmdet.models import StandardRoIHead
from mmengine.structures import InstanceData

from harmoclip_mm.models.detection.open_vocabulary_roi_head import join_scores


def test_join_against_float64():
    rng = np.random.default_rng(0)
    detector = rng.dirichlet(np.ones(5), 6)
    region = rng.dirichlet(np.ones(4), 6)
    is_novel = np.array([False, True, True, False])
    expected = detector.copy()
    for row in range(6):
        for column in range(4):
            weight = 0.65 if is_novel[column] else 0.35
            expected[row, column] = np.exp(
                (1 - weight) * np.log(detector[row, column])
                + weight * np.log(region[row, column])
            )
    found = join_scores(
        torch.from_numpy(detector).float(),
        torch.from_numpy(region).float(),
        torch.from_numpy(is_novel),
        0.35,
        0.65,
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_join_by_hand():
    # base: 0.25^0.5 * 0.64^0.5 = 0.4; novel: 0.5^0 * 0.36^1; background
    found = join_scores(
        torch.tensor([[0.25, 0.5, 0.25]]),
        torch.tensor([[0.64, 0.36]]),
        torch.tensor([False, True]),
        0.5,
        1.0,
    )
    torch.testing.assert_close(found, torch.tensor([[0.4, 0.36, 0.25]]))


def test_a_probability_of_zero_stays_zero():
    zero, one = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0]])
    novel = torch.tensor([True])
    assert join_scores(zero, one, novel, 0.3, 0.6)[0, 0] == 0
    assert join_scores(zero, one, novel, 0.3, 1.0)[0, 0] == 1


def test_region_probabilities_are_those_of_clip(build, cfg, clip, batch):
    """Boxes classified by HarmoCLIP with the scale 100."""
    model = build(cfg)
    model.set_vocabulary(['dog', 'cat', 'red_car'])
    boxes = [
        torch.tensor([[0.0, 0.0, 16.0, 16.0], [3.0, 5.0, 40.0, 33.0]]),
        torch.zeros(0, 4),
    ]
    with torch.no_grad():
        _, dense = model.backbone.forward_with_dense(batch[0])
        found = model.roi_head.region_probabilities(dense, boxes, 8)
        regions = clip.encode_regions(batch[0], boxes)[0]
        texts = clip.encode_text(
            [f'a photo of a {name}.' for name in ('dog', 'cat', 'red car')]
        )
    assert found[1].shape == (0, 3)
    torch.testing.assert_close(
        found[0], (100 * regions @ texts.t()).softmax(dim=1)
    )


def test_without_the_dense_map_it_is_mmdets(build, cfg, batch):
    """alpha = beta = 0 leave the detector's own scores."""
    cfg.roi_head.update(alpha=0.0, beta=0.0)
    model = build(cfg)
    model.set_vocabulary(['dog', 'cat', 'red_car'])
    img, samples = batch
    metas = [each.metainfo for each in samples]

    def proposals():
        boxes = torch.tensor([[2.0, 3.0, 21.0, 19.0], [20.0, 4, 44, 30]])
        return [
            InstanceData(bboxes=boxes, scores=torch.ones(2)),
            InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0)),
        ]

    with torch.no_grad():
        maps, dense = model.backbone.forward_with_dense(img)
        x = model.neck(maps)
        expected = StandardRoIHead.predict_bbox(
            model.roi_head, x, metas, proposals(), cfg.test_cfg.rcnn, True
        )
        model.roi_head.is_novel = torch.tensor([False, True, False])
        asked = proposals()
        scores = model.roi_head.region_probabilities(
            dense, [each.bboxes for each in asked], 8
        )
        for each, own in zip(asked, scores):
            each.region_scores = own
        for given in (proposals(), asked):
            found = model.roi_head.predict(x, given, samples, rescale=True)
            for one, other in zip(found, expected):
                for key in ('bboxes', 'scores', 'labels'):
                    torch.testing.assert_close(one[key], other[key])
    assert len(found[0]) > 2 and len(found[1]) == 0


def test_only_the_region_counts_at_weight_one(build, cfg, batch):
    cfg.roi_head.update(alpha=1.0, beta=1.0)
    model = build(cfg)
    model.set_vocabulary(['dog', 'cat', 'red_car'])
    img, samples = batch
    box = torch.tensor([[2.0, 3.0, 21.0, 19.0]])
    with torch.no_grad():
        maps, dense = model.backbone.forward_with_dense(img)
        region = model.roi_head.region_probabilities(dense[:1], [box], 8)[0]
        model.roi_head.is_novel = torch.tensor([False, True, False])
        (found,) = model.roi_head.predict(
            model.neck(maps),
            [InstanceData(bboxes=box, region_scores=region)],
            samples[:1],
        )
    scores, labels = region[0].sort(descending=True)
    torch.testing.assert_close(found.scores, scores)
    assert found.labels.tolist() == labels.tolist()


def test_no_proposals_at_all(build, with_masks, batch):
    model = build(with_masks)
    img, samples = batch
    for sample in samples:
        sample.proposals = InstanceData(bboxes=torch.zeros(0, 4))
    with torch.no_grad():
        for sample in model.predict(img, samples):
            found = sample.pred_instances
            assert found.bboxes.shape == (0, 4)
            assert found.labels.dtype == torch.long
            assert found.masks.shape[0] == 0 and len(found.scores) == 0


def test_errors(build, cfg, with_masks):
    cfg.roi_head.alpha = 1.5
    with pytest.raises(ValueError, match=r'lie in \[0, 1\]'):
        build(cfg)
    cfg.roi_head.alpha = 0.5
    cfg.roi_head.mask_head.class_agnostic = False
    with pytest.raises(ValueError, match='class_agnostic=True'):
        build(cfg)
