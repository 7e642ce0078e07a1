"""Tests of the comparison of backbones in open-vocabulary detection."""

import json

import pytest

from harmoclip_mm.errors import UsageError

TOOL = 'detect'


@pytest.mark.slow
def test_two_backbones_and_again(run_tool, finished, tmp_path, capsys):
    """A few steps of everything; what was done is not done again."""
    arguments = (
        '--work-dir', tmp_path / 'detect', '--quickstart', finished[0],
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
