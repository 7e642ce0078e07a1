"""The benchmarks, run for real at tiny width."""

import json
import sys

import pytest
import tiny_clips
import torch

from harmoclip_mm.errors import UsageError

TOOL = 'analysis_tools/benchmark_speed.py'
CROPS = {'few_text_over_gc', 'crop_over_text', 'both_over_text'}
RATIOS = {'gc_over_open_clip', 'harmoclip_over_gc', 'regions_100_over_1'}


@pytest.fixture(autouse=True)
def _folder_of_the_tool(monkeypatch, pytestconfig):
    # which Python itself puts first when it runs a file
    folder = pytestconfig.rootpath / 'tools' / 'analysis_tools'
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv('COCO_ROOT', 'nowhere')


@pytest.fixture
def bench(run_tool, tmp_path):
    """Runs the tool and gives the figures that it wrote."""
    out = tmp_path / 'new' / 'figures.json'

    def run(*args):
        run_tool(TOOL, *args, '--out', out)
        return json.loads(out.read_text())

    return run


def save(folder, clip):
    """Writes a CLIP as open_clip does."""
    content = {'model_cfg': dict(clip), 'preprocess_cfg': {}}
    content['model_cfg'].pop('preprocess_cfg', None)
    (folder / 'open_clip_config.json').write_text(json.dumps(content))
    return folder


@pytest.mark.slow
def test_figures_of_one_run_fit_together(bench, tmp_path, capsys):
    found = bench(
        *('training', '--clip', save(tmp_path, tiny_clips.VIT)),
        *('--batch-size', 2, '--crop-batch-size', 1, '--crop-regions', 2),
        *('--rounds', 1, '--device', 'cpu'),
    )
    cases, ratios = found['cases'], found['ratios']
    assert set(ratios) == RATIOS | CROPS
    quotient = cases['harmoclip_10']['seconds'] / cases['gc']['seconds']
    assert ratios['harmoclip_over_gc'] == pytest.approx(quotient)
    assert cases.pop('adamw')['seconds'] > 0
    for case in cases.values():
        speed = case['gflop'] / case['seconds']
        expected = speed / found['peak_gflops']
        assert case['utilisation'] == pytest.approx(expected, rel=1e-6)
        speed = case['images'] / case['seconds']
        assert case['images_per_second'] == pytest.approx(speed)
        if sys.platform == 'linux':
            assert case['peak_mb'] > 0
    # a product has two in the backward, but the first needs none of pixels
    gc = cases['gc']
    assert 2.5 < gc['gflop'] / gc['gflop_forward'] < 3
    # Operations are counts, not times: more regions need no further dense
    # map, a crop each needs a forward.
    one, many = (cases[f'harmoclip_{n}']['gflop'] for n in (1, 100))
    assert gc['gflop'] < one < many < 2 * one
    assert cases['few_crop']['gflop'] > 1.2 * cases['few_text']['gflop']
    # 3 blocks of 17 tokens and 48 channels and 2 of 77 and 32: MLP and
    # projections 24 C^2, attention 4 s C; 16 patches of 8 x 8 x 3; the
    # projections of CLS and EOT; 2 x 2 cosines twice
    forward = 2 * 17 * 3 * (24 * 48**2 + 4 * 17 * 48)
    forward += 2 * 77 * 2 * (24 * 32**2 + 4 * 77 * 32)
    forward += 2 * 16 * 2 * 192 * 48 + 2 * 2 * (48 + 32) * 24
    forward += 2 * 2 * 4 * 24
    theirs = cases['open_clip']['gflop_forward']
    assert theirs == pytest.approx(forward / 1e9, rel=1e-6)
    assert gc['gflop_forward'] < theirs
    printed = capsys.readouterr().out
    assert all(name in printed for name in ratios)


def test_siglip_without_its_tokenizer(bench, tmp_path):
    """Its own loss, and random ids of the whole context."""
    clip = tiny_clips.with_tokenizer(tiny_clips.SIGLIP, 'not/at-hand', 300)
    found = bench(
        *('training', '--clip', save(tmp_path, clip), '--regions', 10),
        *('--batch-size', 2, '--crop-batch-size', 0, '--rounds', 1),
    )
    assert set(found['ratios']) == {'gc_over_open_clip', 'harmoclip_over_gc'}
    cases = found['cases']
    # nothing is cut, neither in the last block nor behind the texts
    assert cases['gc']['gflop_forward'] == pytest.approx(
        # every token is projected, not the pooled one alone
        cases['open_clip']['gflop_forward'],
        rel=0.03,
    )


def measure(rank, file, out):
    from speed_training import peak_mb

    earlier = torch.ones(50_000_000)
    del earlier

    def work():
        for _ in range(3):  # one at a time
            torch.ones(25_000_000)

    out.write_text(str(peak_mb(work, torch.device('cpu'))))


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux tells')
def test_peak_memory_is_that_of_the_call(run_ranks, tmp_path):
    """In a process of its own: what other tests freed is not given back."""
    run_ranks(measure, 1, tmp_path / 'peak')
    peak = float((tmp_path / 'peak').read_text())
    assert peak == pytest.approx(100, abs=10)


def test_a_config_without_gc(run_tool, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text("model = dict(type='HarmoCLIP', heads=dict())")
    with pytest.raises(UsageError, match=r'no model\.heads\.gc'):
        run_tool(TOOL, 'training', '--config', config)


def test_the_median_without_the_warm_up(monkeypatch):
    import speed_evaluation

    times = iter([9.0, 0.1, 7.0, 0.3])
    monkeypatch.setattr(
        speed_evaluation, 'seconds_of', lambda function: function()
    )
    assert speed_evaluation.median_seconds(lambda: next(times), 3) == 0.3


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_evaluation(bench, tmp_path, capsys, precision):
    found = bench(
        *('evaluation', '--clip', save(tmp_path, tiny_clips.VIT)),
        *('--sizes', 32, 60, '--boxes', 1, 3, '--batch-size', 2),
        *('--rounds', 1, '--device', 'cpu', '--precision', precision),
    )
    assert found['settings']['precision'] == precision
    assert found['threads'] == torch.get_num_threads()
    rows = found['results']
    pairs = [(row['size'], row['boxes']) for row in rows]
    assert pairs == [(32, 1), (32, 3), (60, 1), (60, 3)]
    for row in rows:
        ratio = row['dense_images_per_second'] / row['crop_images_per_second']
        assert row['speedup'] == pytest.approx(ratio)
        assert row['dense_images_per_second'] > 0
    assert 'speedup' in capsys.readouterr().out


def test_a_synthetic_file_is_indexed_opened_and_read(bench, tmp_path, capsys):
    folder = tmp_path / 'big'
    found = bench(
        *('data', '--lines', 500, '--reads', 50, '--workers', 2),
        *('--folder', folder, '--tars', 3),
    )['file']
    assert 0 <= 1e6 * found['tars_index_mb'] - 500 * 20 < 4096
    assert 0 < found['tars_open_s'] < found['tars_build_s']
    assert found['lines'] == 500 and found['workers'] == 2
    assert 0 <= 1e6 * found['index_mb'] - 500 * 36 < 4096  # and a header
    assert 0 < found['open_s'] < found['build_s']
    assert found['read_us'] > 0
    if sys.platform == 'linux':
        shares = found['worker_private_mb'], found['worker_pss_mb']
        assert 0 < shares[0] < shares[1] < found['worker_rss_mb']
    assert 'open_s' in capsys.readouterr().out
    # The synthetic file is gone, and with it its index.
    assert list(folder.iterdir()) == []


CONFIG = """
default_scope = 'harmoclip_mm'
custom_imports = dict(imports=['harmoclip_mm'])
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    collate_fn=dict(type='harmoclip_mm.packed_collate'),
    sampler=dict(type='ResumableSampler', shuffle=True),
    dataset=dict(
        type='RegionPhraseDataset',
        data_root={root!r},
        ann_file='odvg.jsonl',
        data_prefix=dict(img='images'),
        pipeline=[
            dict(type='LoadCheckedImage'),
            dict(type='mmdet.LoadAnnotations', with_bbox=True),
            dict(type='TokenizeRegionText', clip='ViT-B-16'),
            dict(type='PackRegionTextInputs'),
        ],
    ),
)
"""


def test_each_transform_of_a_config_is_measured(
    bench, run_tool, tmp_path, tiny_data, capsys
):
    lines = []
    for number in range(3):
        tiny_data.image(f'{number}.png')
        region = {'bbox': [0, 0, 9, 9], 'phrase': 'dog'}
        lines.append(tiny_data.grounding(f'{number}.png', 'A dog.', region))
    tiny_data.jsonl(*lines)
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(root=str(tiny_data.root)))
    few = '--images', 30, '--batches', 3, '--workers', 1
    found = bench('data', '--config', config, *few)['pipeline']
    steps = found['steps_ms']
    assert list(steps) == [
        'read the annotation',
        'LoadCheckedImage',
        'LoadAnnotations',
        'TokenizeRegionText',
        'PackRegionTextInputs',
        'collate and send',
    ]
    assert all(cost > 0 for cost in steps.values())
    assert found['worker_ms'] == pytest.approx(sum(steps.values()))
    rest = found['worker_ms'] - steps['LoadCheckedImage']
    assert found['worker_without_decoding_ms'] == pytest.approx(rest)
    assert found['main_ms'] > 0 and found['images_per_s'] > 0
    assert found['image_shape'] == '[3, 48, 64]'
    assert 'TokenizeRegionText' in capsys.readouterr().out
    # photos that are made up stand in for those of the config
    made_up = bench('data', '--config', config, *few, '--photos', 2)
    assert made_up['pipeline']['image_shape'] == '[3, 480, 640]'
    with pytest.raises(UsageError, match='no val_dataloader'):
        run_tool(TOOL, 'data', '--config', config, '--split', 'val')


def test_nothing_to_measure_is_told(run_tool):
    with pytest.raises(UsageError, match='--lines, --config or both'):
        run_tool(TOOL, 'data')


@pytest.mark.parametrize(
    'args',
    [
        ('training', '--rounds', 0),
        ('training', '--batch-size', 0),
        ('data', '--reads', 0),
        ('evaluation', '--boxes', 0),
        ('evaluation', '--out', 'a.txt'),
    ],
)
def test_bad_options(run_tool, capsys, args):
    with pytest.raises(SystemExit):
        run_tool(TOOL, *args)
    assert args[1] in capsys.readouterr().err
