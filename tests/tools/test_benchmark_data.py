import json

import pytest

from harmoclip_mm.apis import UsageError

TOOL = 'analysis_tools/benchmark_data.py'


def test_a_synthetic_file_is_indexed_opened_and_read(
    run_tool, tmp_path, capsys
):
    out = tmp_path / 'figures.json'
    run_tool(
        *(TOOL, '--lines', 500, '--reads', 50, '--workers', 2),
        *('--folder', tmp_path / 'big', '--out', out),
    )
    found = json.loads(out.read_text())['file']
    assert found['lines'] == 500 and found['workers'] == 2
    assert found['index_mb'] == pytest.approx((4096 + 500 * 32) / 1e6)
    assert 0 < found['open_s'] < found['build_s']
    assert found['read_us'] > 0
    if 'worker_pss_mb' in found:
        shares = found['worker_private_mb'], found['worker_pss_mb']
        assert 0 < shares[0] < shares[1] < found['worker_rss_mb']
    assert 'opening, s' in capsys.readouterr().out
    # The synthetic file is gone, and with it its index.
    assert list((tmp_path / 'big').iterdir()) == []


CONFIG = """
default_scope = 'harmoclip_mm'
custom_imports = dict(imports=['harmoclip_mm'])
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    collate_fn=dict(type='harmoclip_mm.packed_collate'),
    dataset=dict(
        type='RegionPhraseDataset',
        data_root={root!r},
        ann_file='odvg.jsonl',
        data_prefix=dict(img='images'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmdet.LoadAnnotations', with_bbox=True),
            dict(type='TokenizeRegionText'),
            dict(type='PackRegionTextInputs'),
        ],
    ),
)
"""


def test_each_transform_of_a_config_is_measured(
    run_tool, tmp_path, tiny_data, capsys
):
    lines = []
    for number in range(3):
        tiny_data.image(f'{number}.png')
        lines.append(
            tiny_data.grounding(
                f'{number}.png',
                'A dog.',
                {'bbox': [0, 0, 9, 9], 'phrase': 'dog'},
            )
        )
    tiny_data.jsonl(*lines)
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(root=str(tiny_data.root)))
    out = tmp_path / 'figures.json'
    run_tool(
        *(TOOL, '--config', config, '--images', 30, '--batches', 3),
        *('--out', out),
    )
    found = json.loads(out.read_text())['pipeline']
    steps = found['steps_ms']
    assert list(steps) == [
        'read the annotation',
        'LoadImageFromFile',
        'LoadAnnotations',
        'TokenizeRegionText',
        'PackRegionTextInputs',
        'collate and send',
    ]
    assert all(cost > 0 for cost in steps.values())
    assert found['worker_ms'] == pytest.approx(sum(steps.values()))
    rest = found['worker_ms'] - steps['LoadImageFromFile']
    assert found['worker_without_decoding_ms'] == pytest.approx(rest)
    speed = found['images_per_s_8_workers_without_decoding']
    assert speed == pytest.approx(8e3 / rest)
    assert found['main_ms'] > 0 and found['image_shape'] == [3, 48, 64]
    assert 'TokenizeRegionText' in capsys.readouterr().out
    with pytest.raises(UsageError, match='no val_dataloader'):
        run_tool(TOOL, '--config', config, '--split', 'val')


def test_nothing_to_measure_is_told(run_tool, capsys):
    with pytest.raises(SystemExit):
        run_tool(TOOL)
    assert '--lines, --config or both' in capsys.readouterr().err
