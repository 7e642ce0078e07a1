"""Tests of the comparison of backbones in open-vocabulary detection."""

import json

import pytest
import torch
from detect import ap50_table

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


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_two_backbones_and_again(run_tool, quickstart, tmp_path, capsys):
    """A few steps of everything; what was done is not done again."""
    out = tmp_path / 'figures.jsonl'
    arguments = (
        '--work-dir', tmp_path / 'detect', '--quickstart', quickstart,
        '--out', out, '--iters', 2,
        '--cfg-options', 'default_hooks.logger.interval=1',
    )  # fmt: skip
    run_tool(TOOL, *arguments)
    (report,) = read_lines(out)
    for method in ('clip', 'harmoclip'):
        for key in ('base_ap50', 'novel_ap50', 'all_ap50'):
            assert -1 <= report[method][key] <= 1
        assert report[method]['train_seconds'] > 0
    assert report['steps'] == 2 and report['seed'] == 0
    assert 'HarmoCLIP' in capsys.readouterr().out
    folder = tmp_path / 'detect/seed0/clip'
    steps = read_lines(next(folder.glob('*/vis_data/scalars.json')))
    assert [each['step'] for each in steps if 'loss_cls' in each] == [1, 2]

    out.unlink()
    run_tool(TOOL, *arguments)
    assert capsys.readouterr().out.count('done before') == 2
    assert read_lines(out) == [report]


@pytest.mark.slow
def test_a_quickstart_is_run_if_need_be(run_tool, tmp_path):
    """With the options for it, which this one refuses."""
    with pytest.raises(UsageError, match='less than one batch of 8'):
        run_tool(
            TOOL, '--quickstart', tmp_path / 'quick', '--work-dir', tmp_path,
            '--quickstart-options', '--train', 7, '--batch-size', 8,
        )  # fmt: skip


def test_a_quickstart_without_checkpoints_is_named(run_tool, tmp_path):
    """Other seeds have folders of their own."""
    folder = tmp_path / 'quick_seed3'
    folder.mkdir()
    (folder / 'report.json').write_text('{}')
    with pytest.raises(UsageError, match='quick_seed3 holds no checkpoint'):
        run_tool(
            *(TOOL, '--quickstart', tmp_path / 'quick', '--seeds', 3),
            *('--work-dir', tmp_path / 'w'),
        )


def test_table_of_two_seeds():
    def figures(base, novel):
        return dict(base_ap50=base, novel_ap50=novel, all_ap50=0.5)

    table = ap50_table(
        [
            dict(seed=0, clip=figures(0.4, 0.2), harmoclip=figures(0.8, 0.6)),
            dict(seed=1, clip=figures(0.5, 0.2), harmoclip=figures(0.8, 0.8)),
        ]
    )
    # of 0.4 and 0.5: mean 0.45, deviation 0.1 / sqrt(2); 0.4 of 0.9 is 0.44
    plus = '\N{PLUS-MINUS SIGN}'
    name, base, novel, _, share = table.rows[0]
    assert (name, base) == ('CLIP', f'45.0 {plus} 7.1')
    assert (novel, share) == (f'20.0 {plus} 0.0', '0.44')
    assert table.rows[1][1:3] == [f'80.0 {plus} 0.0', f'70.0 {plus} 14.1']
    assert '0, 1' in table.title


def test_backbones_must_exist(run_tool, tmp_path):
    with pytest.raises(UsageError, match=r'a\.pth does not exist'):
        run_tool(TOOL, '--backbones', 'a.pth', 'b.pth', '--work-dir', tmp_path)
