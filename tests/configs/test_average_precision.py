"""AP of given boxes and of proposals, against pycocotools and lvis themselves.

``tools/test.py`` runs the configs on real photos with a tiny CLIP of random
weights, whose logits get a hint, since all AP would be 0 without; the
reference counts the predictions that it dumped.
"""

import contextlib
import io
import json
import pickle

import numpy as np
import pytest
import torch
from optional_packages import needs_lvis
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.ops import box_iou

from harmoclip_mm.models import ClassifyingPredictor, original_boxes
from harmoclip_mm.text import load_vocabulary

# 16 x 16 cells in place of 64 x 64, and one block: attention takes a CPU a
# while.
GIVEN = 'test_dataloader.dataset.pipeline.2.map_cells=16'
PROPOSED = 'test_dataloader.dataset.pipeline.2.transforms.0.map_cells=16'
IMAGES = 27
# given boxes, and proposals of a file
KINDS = pytest.mark.parametrize(
    'kind', ['', '_proposals'], ids=['given', 'proposed']
)
ROUNDED = 5.1e-4  # mmdet gives three digits
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _hint(monkeypatch):
    """Two thirds of the boxes that lie on an object favour its class."""
    generator = torch.Generator().manual_seed(0)

    class_logits = ClassifyingPredictor.class_logits

    def hinted(self, features, data_samples, *args):
        found = class_logits(self, features, data_samples, *args)
        for sample, rows in zip(data_samples, found):
            truth = sample.gt_instances
            boxes = truth.bboxes
            if 'proposals' in sample:  # the truth is in original pixels
                boxes = original_boxes(sample.proposals.bboxes, sample)
            if len(truth.bboxes) and len(boxes):
                overlap, nearest = box_iou(boxes, truth.bboxes).max(dim=1)
                told = torch.rand(len(boxes), generator=generator) < 2 / 3
                told = (told & (overlap > 0.5)).nonzero()[:, 0]
                bonus = 9 * torch.rand(len(told), generator=generator)
                rows[told, truth.labels[nearest[told]]] += bonus
        return found

    monkeypatch.setattr(ClassifyingPredictor, 'class_logits', hinted)


@pytest.fixture
def proposals(panoptic_photos, tmp_path, monkeypatch):
    """Annotated boxes, moved a little, and as many of nothing, in a file of
    the form of ``mmdet.DumpProposals``."""
    content = json.loads(
        (panoptic_photos / 'annotations/instances_val2017.json').read_text()
    )
    rng = np.random.default_rng(0)
    boxes = {image['id']: [] for image in content['images']}
    for each in content['annotations']:
        x, y, w, h = each['bbox']
        moved = np.array([x, y, x + w, y + h]) + rng.normal(size=4) * (
            np.array([w, h, w, h]) * 0.05
        )
        boxes[each['image_id']] += [moved, [0, 0, *rng.uniform(9, 99, 2)]]
    listed = {
        f'val2017/{image["file_name"]}': dict(
            bboxes=np.array(boxes[image['id']]).reshape(-1, 4),
            scores=rng.uniform(0.1, 0.9, len(boxes[image['id']])),
        )
        for image in content['images']
    }
    path = tmp_path / 'proposals.pkl'
    path.write_bytes(pickle.dumps(listed))
    monkeypatch.setenv('PROPOSALS', str(path))
    return listed


def detections(samples, categories):
    """The dumped predictions as COCO's list of results."""
    return [
        dict(
            image_id=sample['img_id'],
            category_id=categories[label],
            bbox=[x1, y1, x2 - x1, y2 - y1],
            score=score,
        )
        for sample in samples
        for (x1, y1, x2, y2), label, score in zip(
            sample['pred_instances']['bboxes'].tolist(),
            sample['pred_instances']['labels'].tolist(),
            sample['pred_instances']['scores'].tolist(),
        )
    ]


def coco_precision(root, samples, classes):
    """Precisions (IoU, recall, class) and classes of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(root / 'annotations/instances_val2017.json'))
        # one by one: getCatIds of a list gives the order of the file
        ids = [truth.getCatIds(catNms=[name])[0] for name in classes]
        found = truth.loadRes(detections(samples, ids))
        evaluation = COCOeval(truth, found, 'bbox')
        evaluation.params.catIds = ids
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval['precision'][:, :, :, 0, -1]


def mean(precision):
    """Over classes with boxes."""
    return precision[precision > -1].mean()


def on_coco(groups):
    """Classes of OV-COCO: those of the groups."""
    names = load_vocabulary('coco80').classes
    return [n for n in names if any(n in group for group in groups.values())]


@KINDS
def test_ov_coco(evaluate_boxes, panoptic_photos, proposals, kind):
    metrics, samples = evaluate_boxes(
        f'box-ap_ov-coco{kind}.py',
        PROPOSED if kind else GIVEN,
        images=IMAGES,
        layers=1,
    )
    groups = load_vocabulary('coco80').groups
    classes = on_coco(groups)
    precision = coco_precision(panoptic_photos, samples, classes)
    for group, names in groups.items():
        chosen = precision[:, :, [name in names for name in classes]]
        assert 0.05 < mean(chosen[0]) < 0.95
        assert metrics[f'ov_coco/{group}_ap50'] == pytest.approx(
            mean(chosen[0])
        )
        assert metrics[f'ov_coco/{group}_ap'] == pytest.approx(mean(chosen))
    if kind:
        check_proposals(samples, proposals, 100)


@KINDS
def test_coco(evaluate_boxes, panoptic_photos, proposals, kind):
    name = f'box-ap_coco{kind}.py' if kind else 'box-cls_fgclip_coco.py'
    metrics, samples = evaluate_boxes(
        name, *([PROPOSED] if kind else []), images=IMAGES, layers=1
    )
    classes = load_vocabulary('coco80').classes
    precision = coco_precision(panoptic_photos, samples, classes)
    assert 0.05 < mean(precision[0]) < 0.95
    assert metrics['coco/bbox_mAP'] == pytest.approx(
        mean(precision), abs=ROUNDED
    )
    assert metrics['coco/bbox_mAP_50'] == pytest.approx(
        mean(precision[0]), abs=ROUNDED
    )
    # only given boxes have a Top-1
    assert ('box_cls/top1' in metrics) == (not kind)


@needs_lvis
@KINDS
def test_lvis(evaluate_boxes, panoptic_photos, proposals, kind, monkeypatch):
    from lvis import LVIS, LVISEval, LVISResults

    name = f'box-ap_lvis{kind}.py' if kind else 'box-cls_lvis.py'
    metrics, samples = evaluate_boxes(
        name, *([PROPOSED] if kind else []), images=IMAGES, layers=1
    )
    if not hasattr(np, 'float'):
        monkeypatch.setattr(np, 'float', float, raising=False)
    truth = LVIS(str(panoptic_photos / 'annotations/lvis_v1_val.json'))
    found = LVISResults(truth, detections(samples, range(1, 1204)))
    evaluation = LVISEval(truth, found, 'bbox')
    evaluation.run()
    expected = evaluation.get_results()
    for key in ('AP', 'AP50', 'APr', 'APc', 'APf'):
        assert 0.03 < expected[key] < 0.95
        assert metrics[f'lvis/bbox_{key}'] == pytest.approx(
            expected[key], abs=ROUNDED
        ), key
    if kind:
        check_proposals(samples, proposals, 300)


def check_proposals(samples, proposals, most):
    """Every detection is a proposal, clipped to its image."""
    assert max(len(s['pred_instances']['bboxes']) for s in samples) > most / 2
    for sample in samples:
        found = sample['pred_instances']['bboxes'].numpy()
        assert 0 < len(found) <= most
        name = '/'.join(sample['img_path'].split('/')[-2:])
        height, width = sample['ori_shape']
        given = proposals[name]['bboxes'].clip(0, [width, height] * 2)
        for box in found:
            assert np.abs(given - box).max(axis=1).min() < 0.1
