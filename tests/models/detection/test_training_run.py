"""The detector in mmengine's Runner, with hooks, on files."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

BASE, ALL = ('dog', 'red_car'), ('dog', 'cat', 'red_car')


def loader(root, classes, test):
    return dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            type='CocoDataset',
            data_root=str(root),
            ann_file='instances.json',
            data_prefix=dict(img='images/'),
            metainfo=dict(classes=classes),
            return_classes=True,
            test_mode=test,
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='Resize', scale=(32, 32), keep_ratio=True),
                dict(
                    type='PackDetInputs',
                    meta_keys=('img_id', 'ori_shape', 'img_shape',
                               'scale_factor', 'text'),
                ),
            ],
        ),
    )  # fmt: skip


@pytest.fixture
def run_cfg(tiny_data, cfg, clip_file, _mmdet_scope):
    """Config of a training of one epoch on two images, with validation."""
    root = tiny_data.root
    boxes = [(1, 1, [4, 4, 24, 24]), (1, 3, [30, 10, 20, 30])]
    boxes += [(2, 2, [10, 8, 30, 20]), (2, 3, [2, 2, 20, 16])]
    for number in (1, 2):
        tiny_data.image(f'{number}.jpg')
    content = dict(
        images=[
            dict(id=i, file_name=f'{i}.jpg', width=64, height=48)
            for i in (1, 2)
        ],
        categories=[dict(id=i, name=n) for i, n in enumerate(ALL, 1)],
        annotations=[
            dict(
                id=number,
                image_id=image,
                category_id=category,
                bbox=box,
                area=box[2] * box[3],
                iscrowd=0,
            )
            for number, (image, category, box) in enumerate(boxes, 1)
        ],
    )
    (root / 'instances.json').write_text(json.dumps(content))
    cfg.init_cfg = dict(type='Pretrained', checkpoint=clip_file)
    metric = dict(
        type='CocoMetric', ann_file=str(root / 'instances.json'), metric='bbox'
    )
    return Config(
        dict(
            default_scope='mmdet',
            model=cfg,
            train_dataloader=loader(root, BASE, test=False),
            val_dataloader=loader(root, ALL, test=True),
            test_dataloader=loader(root, ALL, test=True),
            val_evaluator=metric,
            test_evaluator=metric,
            train_cfg=dict(by_epoch=True, max_epochs=1),
            val_cfg=dict(),
            test_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
            custom_hooks=[dict(type='EMAHook', momentum=0.5)],
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1),
                checkpoint=dict(type='CheckpointHook', interval=1),
            ),
            work_dir=str(root / 'out'),
            randomness=dict(seed=0),
        )
    )


@pytest.mark.slow
def test_train_validate_and_test(run_cfg):
    runner = Runner.from_cfg(run_cfg)
    runner.train()
    scores = runner.message_hub.get_scalar('val/coco/bbox_mAP').current()
    assert -1 <= scores <= 1
    assert runner.model.roi_head.bbox_head.num_classes == 3  # of the test
    assert runner.model.trained_classes == BASE
    path = f'{run_cfg.work_dir}/epoch_1.pth'
    saved = torch.load(path, weights_only=False)
    for key in ('state_dict', 'ema_state_dict'):
        prefix = 'module.' if key.startswith('ema') else ''
        assert torch.equal(
            saved[key][prefix + 'record'], runner.model.record.cpu()
        )
    # resumed for another epoch
    run_cfg.update(load_from=path, resume=True, experiment_name='resumed')
    run_cfg.train_cfg.max_epochs = 2
    runner = Runner.from_cfg(run_cfg)
    runner.train()
    assert runner.epoch == 2 and runner.model.trained_classes == BASE
    # asked for other classes than in the validation
    run_cfg.update(resume=False, experiment_name='test')
    run_cfg.test_dataloader.dataset.metainfo.classes = ['cat', 'red_car']
    runner = Runner.from_cfg(run_cfg)
    assert 'coco/bbox_mAP' in runner.test()
    assert runner.model.roi_head.bbox_head.num_classes == 2
    assert runner.model.trained_classes == BASE
