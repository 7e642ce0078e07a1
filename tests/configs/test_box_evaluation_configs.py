"""The box protocols run by tools/test.py on real photos, at tiny width."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from optional_packages import needs_lvis

from harmoclip_mm.apis import export_clip, load_config
from harmoclip_mm.errors import UsageError
from harmoclip_mm.evaluation.metrics import LVISAPMetric, lvis_metric
from harmoclip_mm.registry import DATASETS, MODELS
from harmoclip_mm.text import load_vocabulary

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
BOXES = sorted((CONFIGS / 'evaluation').glob('box-*.py'))
# 64 x 64 cells take a while in a CPU's attention; the last block has none
ONE_BLOCK = dict(layers=1)


def check_box_accuracy(metrics, samples):
    """The figures again from the predictions, in plain loops."""
    truth, found = (
        np.concatenate([each[key][name].numpy() for each in samples])
        for key, name in (
            ('gt_instances', 'labels'),
            ('pred_instances', 'labels'),
        )
    )
    right = truth == found
    assert metrics['box_cls/top1'] == pytest.approx(100 * right.mean())
    groups = {**samples[0]['run']['groups'], '': truth}
    for name, classes in groups.items():
        shares = [
            right[truth == label].mean()
            for label in set(classes)
            if (truth == label).any()
        ]
        key = f'box_cls/{name}_macro_top1'.replace('/_', '/')
        if shares:
            assert metrics[key] == pytest.approx(100 * np.mean(shares))
        else:
            assert key not in metrics or np.isnan(metrics[key])


def scored_segments(root, images):
    """Labels of the segments that CLIPSelf scores, by its rules."""
    content = json.loads(
        (root / 'annotations' / 'panoptic_val2017.json').read_text()
    )
    place = {each['id']: i for i, each in enumerate(content['categories'])}
    labels = {}
    for entry in content['annotations'][:images]:
        labels[entry['image_id']] = [
            place[info['category_id']]
            for info in entry['segments_info'][:100]
            if 64 <= info['bbox'][2] * info['bbox'][3] <= 1024**2
        ]
    return labels


@pytest.mark.parametrize(
    'extractor',
    [
        ['RoIFeatureExtractor'],
        ['MaskFeatureExtractor'],
        [
            'CropFeatureExtractor',
            'model.region_extractor.keep_ratio=True',
            'model.region_extractor.context=1.5',
        ],
    ],
    ids=['boxes', 'masks', 'crops'],
)
def test_clipself(evaluate_boxes, panoptic_photos, extractor):
    metrics, samples = evaluate_boxes(
        'box-cls_clipself_coco-panoptic.py',
        f'model.region_extractor.type={extractor[0]}',
        *extractor[1:],
        **ONE_BLOCK,
    )
    check_box_accuracy(metrics, samples)
    assert {'box_cls/thing_macro_top1', 'box_cls/stuff_macro_top5'} <= set(
        metrics
    )
    expected = scored_segments(panoptic_photos, 3)
    for sample in samples:
        # 64 x 64 cells of patches of 10 px
        assert sample['img_shape'] == (640, 640)
        labels = sample['gt_instances']['labels'].tolist()
        assert labels == expected[sample['img_id']]
        assert 'masks' not in sample['gt_instances']


def test_fineclip(evaluate_boxes, panoptic_photos):
    metrics, samples = evaluate_boxes(
        'box-cls_fineclip_coco-panoptic.py', images=6
    )
    check_box_accuracy(metrics, samples)
    assert {'box_cls/macro_top1', 'box_cls/macro_top5'} <= set(metrics)
    assert {each['img_shape'] for each in samples} == {(80, 80)}


def test_the_log_tells_what_is_left_out(
    evaluate_boxes, panoptic_photos, tmp_path
):
    """With 2 workers, whose counters the hook adds up."""
    path = panoptic_photos / 'annotations' / 'panoptic_val2017.json'
    entries = json.loads(path.read_text())['annotations'][:6]
    everything = sum(len(entry['segments_info']) for entry in entries)
    _, samples = evaluate_boxes(
        'box-cls_fineclip_coco-panoptic.py',
        'test_dataloader.dataset.pipeline.2.min_area=20000',
        'test_dataloader.num_workers=2',
        images=6,
    )
    kept = sum(len(each['gt_instances']['labels']) for each in samples)
    assert 0 < kept < everything
    (log,) = (tmp_path / 'work').glob('*/*.log')
    line = f'test: {everything - kept} regions left out by the protocol'
    assert line in log.read_text()


def test_fgclip(evaluate_boxes, panoptic_photos):
    metrics, samples = evaluate_boxes('box-cls_fgclip_coco.py', images=27)
    check_box_accuracy(metrics, samples)
    assert {'box_cls/top1', 'box_cls/top5', 'coco/bbox_mAP'} <= set(metrics)
    content = json.loads(
        (panoptic_photos / 'annotations/instances_val2017.json').read_text()
    )
    boxes = [each['bbox'] for each in content['annotations']]
    whole = [box for box in boxes if min(box[2:]) >= 1]
    crowds = sum(each['iscrowd'] for each in content['annotations'])
    assert crowds  # or nothing would be shown
    scored = sum(len(each['gt_instances']['labels']) for each in samples)
    assert scored == len(whole)


@pytest.mark.slow
def test_a_checkpoint_by_argument_and_by_setting(
    evaluate_boxes, tmp_path, tiny_clip
):
    """Our own file and a foreign one, given in either way: one figure."""
    config = 'box-cls_fgclip_coco.py'
    torch.manual_seed(3)
    path = str(CONFIGS / 'evaluation' / config)
    model = MODELS.build(load_config(path, {'clip': tiny_clip()}).model)
    model.init_weights()
    own, foreign = tmp_path / 'own.pth', tmp_path / 'foreign.pt'
    torch.save({'state_dict': model.state_dict()}, own)
    export_clip(model, str(foreign), format='open_clip')
    runs = [evaluate_boxes(config, checkpoint=path) for path in (own, foreign)]
    runs += [
        evaluate_boxes(
            config,
            'model.init_cfg.type=Pretrained',
            f'model.init_cfg.checkpoint={path}',
        )
        for path in (own, foreign)
    ]
    runs.append(evaluate_boxes(config))
    scores = [
        samples[0]['pred_instances']['topk_scores'] for _, samples in runs
    ]
    for each in scores[1:4]:
        torch.testing.assert_close(each, scores[0])
    assert (scores[4] - scores[0]).abs().max() > 1e-4  # others by chance


@needs_lvis
def test_lvis(evaluate_boxes):
    metrics, samples = evaluate_boxes('box-cls_lvis.py', images=27)
    check_box_accuracy(metrics, samples)
    assert {
        'box_cls/rare_top1', 'box_cls/frequent_top5', 'lvis/bbox_AP',
        'lvis/bbox_APr', 'lvis/bbox_APf',
    } <= set(metrics)  # fmt: skip
    assert not hasattr(np, 'float')  # lvis alone has it


def test_missing_lvis_has_a_remedy(evaluate_boxes, monkeypatch):
    monkeypatch.setattr(lvis_metric, 'find_spec', lambda name: None)
    with pytest.raises(UsageError, match='pip install lvis'):
        evaluate_boxes('box-cls_lvis.py')
    with pytest.raises(UsageError, match='pip install lvis'):
        LVISAPMetric()


def test_ov_coco_and_its_classes(evaluate_boxes):
    metrics, _ = evaluate_boxes('box-ap_ov-coco.py', **ONE_BLOCK)
    assert {'ov_coco/base_ap50', 'ov_coco/novel_ap50'} <= set(metrics)
    cfg = load_config(str(CONFIGS / 'evaluation' / 'box-ap_ov-coco.py'))
    groups = load_vocabulary('coco80').groups
    for name in ('base', 'novel'):
        assert set(cfg[f'{name}_classes']) == set(groups[name])
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    assert dataset.metainfo['classes'] == tuple(cfg.classes)


def test_proposals_from_a_file(evaluate_boxes, panoptic_photos, tmp_path):
    """Boxes of the truth as proposals: each keeps its place and score."""
    content = json.loads(
        (panoptic_photos / 'annotations/instances_val2017.json').read_text()
    )
    proposals = {
        f'val2017/{image["file_name"]}': dict(
            bboxes=np.zeros((0, 4)), scores=np.zeros(0)
        )
        for image in content['images']
    }
    boxes = {
        image['id']: [
            each['bbox']
            for each in content['annotations']
            if each['image_id'] == image['id']
        ]
        for image in content['images'][:2]
    }
    for image in content['images'][:2]:
        xywh = np.array(boxes[image['id']])
        proposals[f'val2017/{image["file_name"]}'] = dict(
            bboxes=np.concatenate(
                [xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1
            ),
            scores=np.full(len(xywh), 0.5),
        )
    path = tmp_path / 'proposals.pkl'
    path.write_bytes(pickle.dumps(proposals))
    metrics, samples = evaluate_boxes(
        'box-ap_ov-coco_proposals.py',
        f'test_dataloader.dataset.proposal_file={path}',
        **ONE_BLOCK,
    )
    assert {'ov_coco/base_ap50', 'ov_coco/novel_ap50'} <= set(metrics)
    assert len(samples[2]['pred_instances']['bboxes']) == 0
    for sample in samples[:2]:
        found = sample['pred_instances']
        assert 0 < len(found['bboxes']) <= 100
        assert (found['scores'] <= 0.5).all()
        given = proposals[f'val2017/{Path(sample["img_path"]).name}']['bboxes']
        for box in found['bboxes'].numpy():
            # in pixels of the original image, to a fraction of one
            assert np.abs(given - box).max(axis=1).min() < 0.1


@pytest.mark.parametrize('path', BOXES, ids=lambda path: path.stem)
def test_leaf_configs_are_short(path):
    assert len(path.read_text().splitlines()) < 60
