"""Sharded training equals that of one process on the global batch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_clips
import torch
from processes import free_port, tool_environment

from harmoclip_mm.engine import CLIPFSDPStrategy
from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.checkpoints import load_weights_only
from harmoclip_mm.registry import MODELS

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module', params=['VIT', 'SIGLIP'])
def outcome(request, tmp_path_factory):
    """What two ranks and one process of the worker script wrote."""
    folder = tmp_path_factory.mktemp('fsdp')
    worker = Path(__file__).with_name('fsdp_worker.py')
    result = subprocess.run(
        [sys.executable, str(worker), str(folder), free_port(), request.param],
        cwd=folder,
        env=tool_environment(
            PYTHONPATH=f'{REPOSITORY}{os.pathsep}{REPOSITORY / "tests"}'
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout[-5000:]
    found = {
        path.stem: torch.load(path, weights_only=True)
        for path in folder.glob('*.pt')
    }
    found['sharded'] = load_weights_only(str(folder / 'sharded.pth'))
    return found


@pytest.mark.slow
def test_losses_and_weights_equal_one_process(outcome):
    """Uneven ranks, recomputed blocks, a temperature at its bound."""
    for rank in range(2):
        for step, expected in zip(outcome[f'losses{rank}'], outcome['losses']):
            assert step == pytest.approx(expected, rel=1e-9)
    whole, sharded = outcome['whole'], outcome['sharded']['state_dict']
    assert sharded.keys() == whole.keys()
    # Biases of keys have no gradient but rounding, which Adam makes a step.
    torch.testing.assert_close(dict(sharded), whole, rtol=1e-9, atol=1e-8)


@pytest.mark.slow
def test_weights_are_shared_out(outcome):
    weights = outcome['whole']
    count = sum(weight.numel() for weight in weights.values())
    scalars = sum(not weight.dim() for weight in weights.values())
    held = outcome['held0'], outcome['held1']
    assert sum(held) == count + scalars  # each rank has all temperatures
    assert min(held) > 0.45 * count
    # what the towers call as modules
    mlps = {re.sub(r'\.mlp\..*', '.mlp', n) for n in weights if '.mlp.' in n}
    assert set(outcome['units']) == {'', *mlps} and len(mlps) >= 5


@pytest.mark.slow
def test_checkpoint_goes_on_where_it_was(outcome):
    for rank in range(2):
        resumed = outcome[f'resumed{rank}']
        for step, expected in zip(resumed, outcome[f'straight{rank}']):
            assert step == pytest.approx(expected, rel=1e-9)
    # the learning rate that schedules and logs go by
    settings = outcome['sharded']['optimizer']['base_param_settings']
    assert settings['lr'] == 0.01


@pytest.mark.parametrize(
    'heads',
    [
        dict(lrc=dict(type='RegionPhraseHead')),
        dict(gr=dict(type='RegionAlignmentHead', mode='crop')),
    ],
)
def test_passes_that_depend_on_the_data_are_refused(
    tmp_path, harmoclip_scope, heads
):
    cfg = dict(type='HarmoCLIP', clip=tiny_clips.VIT)
    model = MODELS.build(
        dict(
            cfg, heads=heads, crop_extractor=dict(type='CropFeatureExtractor')
        )
    )
    strategy = CLIPFSDPStrategy(
        work_dir=str(tmp_path), env_kwargs=dict(launcher='none')
    )
    with pytest.raises(UsageError, match='equally often'):
        strategy.prepare(model)


def test_one_process_is_told_so(tmp_path, harmoclip_scope):
    cfg = dict(type='HarmoCLIP', clip=tiny_clips.VIT)
    strategy = CLIPFSDPStrategy(
        work_dir=str(tmp_path), env_kwargs=dict(launcher='none')
    )
    with pytest.raises(UsageError, match='start tools/dist_train'):
        strategy.prepare(MODELS.build(cfg))
