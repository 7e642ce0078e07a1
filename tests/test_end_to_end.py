"""The whole road on real photos: COCO files, training, metrics.

ViT-B/16 at full size with random weights, two iterations of two photos, so
what is tested is that everything fits together, not what is learnt.
"""

import json
import math
import re
from functools import partial
from pathlib import Path

import mmengine
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('much_memory')]

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = REPOSITORY / 'configs' / 'harmoclip_vitb16_coco.py'
LOSSES = ('loss', 'loss_gc', 'loss_lrc', 'loss_gr')
# The dry run of the README.
DRY_RUN = (
    'train_cfg.max_epochs=1',
    'train_cfg.val_begin=2',
    'default_hooks.checkpoint=None',
    'train_dataloader.batch_size=2',
    'default_hooks.logger.interval=1',
    'train_dataloader.num_workers=1',
)


@pytest.fixture(scope='module')
def road(coco_photos, tmp_path_factory, run_apart):
    """A work folder with the photos' phrases, and a function that runs a
    tool there and gives what it printed."""
    folder = tmp_path_factory.mktemp('road')
    run = partial(
        run_apart,
        cwd=folder,
        COCO_ROOT=str(coco_photos),
        COCO_PHRASES=str(folder / 'phrases.jsonl'),
    )
    run.folder = folder
    annotations = coco_photos / 'annotations'
    printed = run(
        'dataset_converters/to_odvg.py', 'coco-captions',
        annotations / 'instances_train2017.json',
        '--captions', annotations / 'captions_train2017.json',
        '--out', folder / 'phrases.jsonl',
    )  # fmt: skip
    assert 'phrases.jsonl' in printed
    return run


def read_losses(log: str) -> list:
    """Losses of each iteration in a log."""
    lines = [line for line in log.splitlines() if 'Epoch(train)' in line]
    return [
        {
            name: float(re.search(rf'\b{name}: (\S+)', line)[1])
            for name in LOSSES
        }
        for line in lines
    ]


def check_losses(losses: list) -> None:
    assert len(losses) == 2
    for each in losses:
        assert all(math.isfinite(value) for value in each.values())
        parts = each['loss_gc'] + each['loss_lrc'] + each['loss_gr']
        assert each['loss'] == pytest.approx(parts, abs=2e-4)
        # random features: pairs of one photo cannot be told apart
        assert each['loss_lrc'] > 0 and each['loss_gr'] > 0


def test_two_processes_train_on_the_cpu(road):
    printed = road(
        'train.py', CONFIG, '--work-dir', 'two', '--cfg-options',
        *DRY_RUN, 'train_dataloader.dataset.indices=8',
        'log_level=DEBUG',  # mmengine then keeps a log of every rank
        ranks=2,
    )  # fmt: skip
    logs = sorted((road.folder / 'two').rglob('*rank*.log'))
    assert len(logs) == 2, printed
    first, second = (read_losses(log.read_text()) for log in logs)
    check_losses(first)
    # the loss is that of the global batch, so every rank has the same
    assert first == second
    # four photos against four captions: chance is log 4
    assert first[0]['loss_gc'] == pytest.approx(math.log(4), abs=0.4)


def test_evaluation_of_untrained_weights(road):
    """Box classification, retrieval and COCO AP in one pass over val2017."""
    road(
        'test.py', CONFIG, 'none', '--work-dir', 'none', '--metrics-out',
        'metrics.json', '--out', 'predictions.pkl', '--cfg-options',
        'test_dataloader.num_workers=1', 'test_dataloader.batch_size=9',
        # one template instead of 80: a fifth of the time
        'model.predictors.boxes.classifier.templates=simple',
    )  # fmt: skip
    metrics = json.loads((road.folder / 'metrics.json').read_text())
    for key in (
        'box_cls/top1',
        'box_cls/base_top1',
        'box_cls/novel_macro_top5',
        'retrieval/i2t_r1',
        'retrieval/t2i_r10',
    ):
        assert 0 <= metrics[key] <= 100
    assert 0 <= metrics['coco/bbox_mAP'] <= 1
    # chance of 80 classes, 135 captions and 27 photos, with room
    assert metrics['box_cls/top1'] < 40
    assert metrics['retrieval/t2i_r1'] < 30

    records = mmengine.load(road.folder / 'predictions.pkl')
    assert len(records) == 27
    right = boxes = 0
    for record in records:
        truth, found = record['gt_instances'], record['pred_instances']
        assert (truth['bboxes'] == found['bboxes']).all()
        height, width = record['ori_shape']
        limit = found['bboxes'].new_tensor([width, height] * 2)
        assert (found['bboxes'] <= limit + 1e-2).all()
        right += int((truth['labels'] == found['labels']).sum())
        boxes += len(truth['labels'])
    assert metrics['box_cls/top1'] == pytest.approx(100 * right / boxes)
