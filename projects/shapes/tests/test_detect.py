"""Tests of the comparison of backbones in open-vocabulary detection."""

import json

import pytest
import torch

from harmoclip_mm.apis import load_config
from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import MODELS
from shapes.plan import QUICKSTART_NAMES, config_of

pytestmark = pytest.mark.usefixtures('quick_children')
TOOL = 'detect'


@pytest.fixture
def quickstart(few_shapes, tmp_path, harmoclip_scope):
    """What a quickstart leaves that this command reads, untrained."""
    folder = tmp_path / 'quick'
    folder.mkdir()
    (folder / 'report.json').write_text('{}')
    (folder / 'shapes').symlink_to(few_shapes)
    for method in QUICKSTART_NAMES:
        (folder / method).mkdir()
        model = MODELS.build(load_config(str(config_of(method))).model)
        model.init_weights()
        path = folder / method / 'epoch_1.pth'
        torch.save({'state_dict': model.state_dict()}, path)
        (folder / method / 'last_checkpoint').write_text(str(path))
    return folder


@pytest.mark.slow
def test_two_backbones_and_again(run_tool, quickstart, tmp_path, capsys):
    """A few steps of everything; what was done is not done again."""
    arguments = (
        '--work-dir', tmp_path / 'detect', '--quickstart', quickstart,
        '--out', tmp_path / 'figures.json', '--iters', 2,
        '--cfg-options', 'default_hooks.logger.interval=1',
    )  # fmt: skip
    run_tool(TOOL, *arguments)
    report = json.loads((tmp_path / 'figures.json').read_text())
    for method in ('clip', 'harmoclip'):
        for key in ('base_ap50', 'novel_ap50', 'all_ap50'):
            assert -1 <= report[method][key] <= 1
        assert report[method]['train_seconds'] > 0
    assert report['steps'] == 2 and report['seed'] == 0
    assert 'HarmoCLIP' in capsys.readouterr().out
    scalars = next((tmp_path / 'detect/clip').glob('*/vis_data/scalars.json'))
    steps = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert [each['step'] for each in steps if 'loss_cls' in each] == [1, 2]

    (tmp_path / 'figures.json').unlink()
    run_tool(TOOL, *arguments)
    out = capsys.readouterr().out
    assert out.count('done before') == 2
    again = json.loads((tmp_path / 'figures.json').read_text())
    assert again == report


@pytest.mark.slow
def test_a_quickstart_is_run_if_need_be(run_tool, tmp_path):
    """With the options for it, which this one refuses."""
    with pytest.raises(UsageError, match='less than one batch of 8'):
        run_tool(
            TOOL, '--quickstart', tmp_path / 'quick', '--work-dir', tmp_path,
            '--quickstart-options', '--train', 7, '--batch-size', 8,
        )  # fmt: skip


def test_a_quickstart_without_checkpoints_is_named(run_tool, tmp_path):
    (tmp_path / 'report.json').write_text('{}')
    with pytest.raises(UsageError, match='no checkpoint of clip'):
        run_tool(TOOL, '--quickstart', tmp_path, '--work-dir', tmp_path / 'w')


def test_backbones_must_exist(run_tool, tmp_path):
    with pytest.raises(UsageError, match=r'a\.pth does not exist'):
        run_tool(TOOL, '--backbones', 'a.pth', 'b.pth', '--work-dir', tmp_path)
