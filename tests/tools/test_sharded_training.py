"""FSDP through the tools: two gloo processes train, resume and test."""

import json
import subprocess
from pathlib import Path

import pytest
from processes import free_port, tool_environment

from harmoclip_mm.models.checkpoints import load_weights_only

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = """
_base_ = [{configs!r} + '/harmoclip_tiny_photos.py',
          {configs!r} + '/_base_/strategies/fsdp.py']
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False,
    sampler=dict(type='ResumableInfiniteSampler'))
train_cfg = dict(max_iters=1, val_begin=3)
default_hooks = dict(
    checkpoint=dict(interval=1), exact_resume=dict(type='ExactResumeHook'))
val_evaluator = [_base_.val_evaluator[0]]
test_evaluator = val_evaluator
"""


@pytest.mark.slow
def test_train_resume_and_test(tmp_path, run_tool, made_coco, monkeypatch):
    monkeypatch.setenv('COCO_ROOT', str(made_coco))
    monkeypatch.delenv('COCO_PHRASES', raising=False)
    config = tmp_path / 'sharded.py'
    config.write_text(CONFIG.format(configs=str(REPOSITORY / 'configs')))

    def train(*args) -> None:
        result = subprocess.run(
            [
                *('bash', str(REPOSITORY / 'tools' / 'dist_train.sh')),
                *(str(config), '2', '--work-dir', str(tmp_path), *args),
            ],
            env=tool_environment(PORT=free_port()),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        assert result.returncode == 0, result.stdout[-5000:]

    train()
    train('--resume', '--cfg-options', 'train_cfg.max_iters=2')
    first, second = (
        load_weights_only(str(tmp_path / f'iter_{step}.pth'))
        for step in (1, 2)
    )
    assert second['meta']['iter'] == 2
    steps = [
        {int(each['step']) for each in file['optimizer']['state'].values()}
        for file in (first, second)
    ]
    assert steps == [{1}, {2}]  # the optimizer's state was resumed
    assert first['state_dict'].keys() == second['state_dict'].keys()
    # whole checkpoints: one process without sharding reads them strictly
    run_tool(
        'test.py', config, tmp_path / 'iter_2.pth', '--work-dir', tmp_path,
        '--metrics-out', tmp_path / 'metrics.json',
    )  # fmt: skip
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert 0 <= metrics['box_cls/top1'] <= 100
