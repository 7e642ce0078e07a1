"""``quickstart.py``, run for real on a few images."""

import json
import shutil
import sys
from pathlib import Path

import mmengine
import numpy as np
import pytest
import quickstart as tool
import torch
from mmengine.registry import init_default_scope
from PIL import Image
from rich.console import Console

from harmoclip_mm.engine.checkpoint_guard import load_checkpoint_file
from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import MODELS
from harmoclip_mm.text import load_vocabulary
from shapes.scenes import VOCABULARY

FIGURES = {
    'box_top1',
    'box_top1_base',
    'box_top1_novel',
    'retrieval_i2t_r1',
    'retrieval_t2i_r1',
    'train_seconds',
}


def _report(folder):
    return json.loads((folder / 'report.json').read_text())


@pytest.mark.slow
def test_report_holds_all_figures(finished):
    report = _report(finished[0])
    assert set(report) == {'clip', 'harmoclip', 'settings'}
    for method in ('clip', 'harmoclip'):
        assert set(report[method]) == FIGURES
        assert all(isinstance(v, float) for v in report[method].values())
        assert all(
            0 <= value <= 100
            for key, value in report[method].items()
            if key != 'train_seconds'
        )
    settings = report['settings']
    assert settings['steps'] == 2 and settings['batch_size'] == 8
    assert settings['images'] == {'train': 16, 'val': 2, 'test': 30}
    assert settings['seed'] == 0 and settings['threads'] == 1
    assert settings['versions']['torch'] == torch.__version__


@pytest.mark.slow
@pytest.mark.parametrize('method', ['clip', 'harmoclip'])
def test_box_figures_follow_from_the_predictions(finished, method):
    folder = finished[0]
    vocabulary = load_vocabulary(VOCABULARY)
    true, predicted = [], []
    for record in mmengine.load(folder / method / 'predictions.pkl'):
        true += record['gt_instances']['labels'].tolist()
        predicted += record['pred_instances']['labels'].tolist()
    right = np.equal(true, predicted)
    novel = np.isin(
        [vocabulary.classes[label] for label in true],
        vocabulary.groups['novel'],
    )
    assert 0 < novel.sum() < len(true)
    figures = _report(folder)[method]
    assert figures['box_top1'] == pytest.approx(100 * right.mean())
    assert figures['box_top1_novel'] == pytest.approx(
        100 * right[novel].mean()
    )
    assert figures['box_top1_base'] == pytest.approx(
        100 * right[~novel].mean()
    )


@pytest.mark.slow
def test_both_train_equally_long_from_the_same_start(finished):
    folder = finished[0]
    start = torch.load(folder / 'start.pth', weights_only=True)['state_dict']
    for method in ('clip', 'harmoclip'):
        log = (folder / method / 'train.log').read_text()
        assert f'Load checkpoint from {folder / "start.pth"}' in log
        assert 'Epoch(train) [1][2/2]' in log
        # no validation: train_seconds is training
        assert 'Epoch(val)' not in log
        latest = Path((folder / method / 'last_checkpoint').read_text())
        trained = load_checkpoint_file(str(latest))['state_dict']
        assert set(start) <= set(trained)
        assert any(not torch.equal(start[key], trained[key]) for key in start)


@pytest.mark.slow
def test_output_and_picture(finished):
    folder, output = finished
    Image.open(folder / 'report.png').load()
    for text in ('Box Top-1, novel', 'report.json', 'report.png'):
        assert text in output
    report = _report(folder)
    harmo, clip = (report[m]['box_top1'] for m in ('harmoclip', 'clip'))
    assert f'HarmoCLIP names {harmo:.1f} % of the boxes, CLIP {clip:.1f}' in (
        output.replace('\n', ' ')
    )


@pytest.fixture
def quickstart(monkeypatch):
    """Make a quickstart of a command line in this process."""
    # The tool sets it; this gives it back after the test.
    monkeypatch.setenv('SHAPES_ROOT', '')

    def make(*argv):
        monkeypatch.setattr(sys, 'argv', ['quickstart.py', *map(str, argv)])
        return tool.Quickstart(tool.parse_args(), Console())

    return make


@pytest.mark.slow
def test_data_are_drawn_once_for_the_same_settings(
    finished, short_run, quickstart, capsys, tmp_path
):
    folder = tmp_path / 'quickstart'
    shutil.copytree(finished[0] / 'shapes', folder / 'shapes')
    image = folder / 'shapes' / 'test' / '000000.jpg'
    before = image.stat().st_mtime_ns
    again = ['--work-dir', folder, *short_run]
    quickstart(*again).draw_data()
    assert 'drawn before' in capsys.readouterr().out
    assert image.stat().st_mtime_ns == before
    quickstart(*again, '--seed', 1).draw_data()
    assert image.stat().st_mtime_ns != before
    stamp = json.loads((folder / 'shapes' / 'settings.json').read_text())
    assert stamp['seed'] == 1 and stamp['train'] == 16


def test_start_is_drawn_by_the_seed_and_fits_both(quickstart, tmp_path):
    starts = {}
    for name, seed in (('a', 1), ('b', 1), ('c', 2)):
        (tmp_path / name).mkdir()
        run = quickstart('--work-dir', tmp_path / name, '--seed', seed)
        path = run.make_start()
        starts[name] = torch.load(path, weights_only=True)['state_dict']
    a, b, c = starts.values()
    assert not any(key.startswith('heads.') for key in a)
    assert all(torch.equal(a[key], b[key]) for key in a)
    key = 'backbone.visual.transformer.resblocks.0.attn.in_proj_weight'
    assert not torch.equal(a[key], c[key])
    init_default_scope('harmoclip_mm')
    for config in run.configs.values():
        keys = MODELS.build(config.model).load_state_dict(a, strict=False)
        assert not keys.unexpected_keys
        assert all(key.startswith('heads.') for key in keys.missing_keys)


def test_default_is_the_length_of_the_config(quickstart, tmp_path):
    full = quickstart('--work-dir', tmp_path)
    config = full.configs['clip']
    batches = 12000 // config.train_dataloader.batch_size
    assert full.steps == config.train_cfg.max_epochs * batches
    options = dict(
        option.split('=')
        for option in full.train_options(config, tmp_path / 'start.pth')
    )
    assert options['load_from'] == str(tmp_path / 'start.pth')
    assert options['train_cfg.max_epochs'] == str(config.train_cfg.max_epochs)


def test_shorter_runs_shorten_the_schedule_of_epochs(quickstart, tmp_path):
    short = quickstart('--work-dir', tmp_path, '--epochs', 2)
    options = short.train_options(short.configs['clip'], tmp_path / 'a.pth')
    # The second scheduler of the config counts epochs, the first iterations.
    assert {'param_scheduler.1.T_max=2', 'param_scheduler.1.end=2'} <= set(
        options
    )
    assert not any(o.startswith('param_scheduler.0') for o in options)


def test_less_than_a_batch_is_refused(quickstart, tmp_path):
    with pytest.raises(UsageError, match='less than one batch of 8'):
        quickstart(
            '--work-dir', tmp_path, '--train', 7, '--batch-size', 8
        )  # fmt: skip


@pytest.mark.parametrize(
    'option, value',
    [('--epochs', 0), ('--test', -1), ('--batch-size', 0), ('--seed', -1)],
)
def test_senseless_numbers_are_refused(quickstart, capsys, option, value):
    with pytest.raises(SystemExit):
        quickstart(option, value)
    assert f'{option} must' in capsys.readouterr().err
