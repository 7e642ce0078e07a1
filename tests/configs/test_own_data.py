"""The template for one's own data, trained and tested on ten lines."""

import json
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[2] / (
    'configs/harmoclip_vitb16_own-data.py'
)
BOX = [4, 4, 24, 24]


def test_ten_lines_are_enough(
    tiny_data, run_tool, tmp_path, monkeypatch, tiny_clip
):
    names = [f'{i}.png' for i in range(10)]
    for name in names:
        tiny_data.image(name)
    lines = [
        tiny_data.grounding(name, 'a dog', dict(bbox=BOX, phrase='dog'))
        for name in names
    ]
    tiny_data.jsonl(*lines, name='train.jsonl')
    boxes = dict(
        images=[
            dict(id=i, file_name=name, width=64, height=48)
            for i, name in enumerate(names[:2], 1)
        ],
        categories=[dict(id=3, name='dog'), dict(id=7, name='red car')],
        annotations=[
            dict(
                id=i, image_id=i, category_id=7, bbox=BOX, area=400, iscrowd=0
            )
            for i in (1, 2)
        ],
    )
    (tiny_data.root / 'test.json').write_text(json.dumps(boxes))
    monkeypatch.setenv('MY_DATA', str(tiny_data.root))
    options = (
        f'clip={tiny_clip()}',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'val_dataloader.num_workers=0',
        'val_dataloader.persistent_workers=False',
        'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False',
        'model.predictors.boxes.classifier.templates=none',
    )
    run_tool(
        *('train.py', CONFIG, '--work-dir', tmp_path, '--cfg-options'),
        *(*options, 'train_dataloader.batch_size=5', 'train_cfg.max_epochs=1'),
    )
    run_tool(
        *('test.py', CONFIG, tmp_path / 'epoch_1.pth'),
        *('--work-dir', tmp_path, '--metrics-out', tmp_path / 'metrics.json'),
        *('--cfg-options', *options),
    )
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert 0 <= metrics['box_cls/top1'] <= 100
    assert 'coco/bbox_mAP' in metrics
    assert not any(key.startswith('retrieval') for key in metrics)
