"""tools/train.py and tools/test.py with an open-vocabulary detector."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from harmoclip_mm.apis import load_config
from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/ov_detection/fvit_tiny_1xb8-600i_photos.py'
STEPS = 40


@pytest.fixture(scope='module')
def trained(coco_photos, tmp_path_factory, run_tool):
    """A short training on the photos; gives its folder."""
    folder = tmp_path_factory.mktemp('photos')
    torch.manual_seed(0)
    clip = MODELS.build(
        load_config(str(ROOT / 'configs/harmoclip_tiny_photos.py')).model
    )
    clip.init_weights()
    torch.save({'state_dict': clip.state_dict()}, folder / 'clip.pth')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('COCO_ROOT', str(coco_photos))
        patch.setenv('CLIP_CHECKPOINT', str(folder / 'clip.pth'))
        run_tool(
            'train.py', CONFIG, '--work-dir', folder, '--cfg-options',
            f'train_cfg.max_iters={STEPS}', f'train_cfg.val_begin={STEPS + 1}',
            f'param_scheduler.1.T_max={STEPS}', 'param_scheduler.0.end=5',
            'default_hooks.logger.interval=1', 'train_dataloader.batch_size=4',
        )  # fmt: skip
        yield folder


def scalars(folder: Path) -> list:
    (file,) = folder.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_the_loss_falls_and_the_clip_stays(trained):
    losses = [each['loss'] for each in scalars(trained) if 'loss' in each]
    assert len(losses) == STEPS
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])
    before = torch.load(trained / 'clip.pth', weights_only=True)
    after = torch.load(
        (trained / 'last_checkpoint').read_text().strip(), weights_only=False
    )
    for name, weight in before['state_dict'].items():
        if name.startswith(('backbone.', 'text_encoder.')):
            assert torch.equal(after['state_dict'][name], weight), name


@pytest.mark.slow
def test_evaluation_predictions_and_drawings(trained, run_tool):
    checkpoint = (trained / 'last_checkpoint').read_text().strip()
    out = trained / 'test'
    run_tool(
        'test.py', CONFIG, checkpoint, '--work-dir', out,
        '--metrics-out', out / 'metrics.json', '--out', out / 'found.pkl',
        '--show-dir', out / 'drawn',
        '--cfg-options', 'test_dataloader.dataset.indices=6',
        'default_hooks.visualization.score_thr=0.01',
    )  # fmt: skip
    metrics = json.loads((out / 'metrics.json').read_text())
    for name in ('base_ap50', 'novel_ap50', 'bbox_mAP_50'):
        assert -1 <= metrics[f'ov_coco/{name}'] <= 1
    records = pickle.loads((out / 'found.pkl').read_bytes())
    assert len(records) == 6
    assert len(records[0]['run']['classes']) == 62
    assert sum(len(each['pred_instances']['bboxes']) for each in records)
    # drawn beside one another: what is there, what was found
    pictures = sorted((out / 'drawn').rglob('*.jpg'))
    assert len(pictures) == 6


@pytest.mark.slow
def test_a_clip_is_no_detector(trained, run_tool):
    with pytest.raises(CheckpointError, match='another model'):
        run_tool(
            'test.py', CONFIG, trained / 'clip.pth',
            '--work-dir', trained / 'wrong',
        )  # fmt: skip
