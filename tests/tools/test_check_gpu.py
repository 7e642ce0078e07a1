"""The checks of a GPU, run on the CPU with tiny models."""

import json
import re
import time
from functools import partial

import pytest
import torch

from harmoclip_mm.errors import UsageError

TOOL = 'analysis_tools/check_gpu.py'
CPU = '--device', 'cpu', '--quick'


@pytest.fixture
def checks(monkeypatch, pytestconfig):
    """The module of the checks, imported as the tool does it."""
    folder = pytestconfig.rootpath / 'tools' / 'analysis_tools'
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv('COCO_ROOT', 'nowhere')
    import gpu_checks

    return gpu_checks


@pytest.fixture
def check(run_tool, checks, tmp_path):
    """Runs the tool and gives the file and its checks by name."""

    def run(*args, code=0):
        path = tmp_path / 'new' / 'gpu.json'
        try:
            run_tool(TOOL, *args, '--out', path)
        except SystemExit as end:
            assert end.code == code
        else:
            assert not code
        found = json.loads(path.read_text())
        return found, {row['name']: row for row in found['checks']}

    return run


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(torch.amp, 'GradScaler'),
    reason='torch < 2.3 scales on GPUs only, and cannot mask in bfloat16',
)
def test_all_checks_on_the_cpu(check, checks, capsys):
    found, rows = check(*CPU, '--minutes', 60)
    assert list(rows) == [each.name for each in checks.CHECKS]
    needy = [name for name, row in rows.items() if row['status'] == 'not run']
    assert needy == [
        each.name for each in checks.CHECKS if each.needs == 'cuda'
    ]
    for name in set(rows) - set(needy):
        assert rows[name]['status'] == 'passed', rows[name]
    # in float32 this is the reference itself, and rounding is seen
    assert rows['fp32']['figures'] == dict(loss=0, update=0)
    assert rows['speed']['figures']['open_clip_images_per_second'] > 0
    assert rows['data loader']['figures']['loader_images_per_second'] > 0
    assert re.match(r'\d{4}-\d\d-\d\d$', found['date']) and found['device']
    assert found['PyTorch'] == torch.__version__
    assert found['seconds'] > sum(row['seconds'] for row in rows.values())
    printed = capsys.readouterr().out
    assert all(name in printed for name in rows)


def test_what_is_wrong_is_found_and_the_rest_goes_on(
    check, checks, made_coco, monkeypatch
):
    def broken(args):
        raise RuntimeError('CUDA error: an illegal address\nand pages of it')

    other = {'model.heads.lrc.loss.loss_weight': 0.55}
    wrong = partial(checks.training, how=other)
    rows = (
        checks.Check('broken', broken, {}),
        checks.Check('nan', lambda args: dict(loss=float('nan')), {'loss': 1}),
        checks.Check('wrong', wrong, checks.EXACT),
        # nccl's check, whose process group is gloo's here
        checks.Check('group', checks.one_process, checks.EXACT),
    )
    monkeypatch.setattr(checks, 'CHECKS', rows)
    _, found = check(*CPU, '--coco-root', made_coco, code=1)
    status = {name: row['status'] for name, row in found.items()}
    assert status.pop('group') == 'passed', found['group']
    assert set(status.values()) == {'failed'}
    assert found['broken']['reason'] == (
        'RuntimeError: CUDA error: an illegal address'
    )
    assert 'in broken' in found['broken']['traceback']
    assert found['nan']['reason'] == 'loss'
    assert found['wrong']['reason'] == 'loss, update'
    assert not torch.distributed.is_initialized()


def test_the_time_is_kept(check, checks, monkeypatch):
    def endless(args):
        time.sleep(600)

    rows = [
        checks.Check('endless', endless, {}),
        checks.Check('late', endless, {}),
    ]
    monkeypatch.setattr(checks, 'CHECKS', rows)
    found, rows = check(*CPU, '--minutes', 0.1, code=1)
    assert rows['endless']['status'] == 'failed'
    assert 'TimeoutError' in rows['endless']['reason']
    assert (rows['late']['status'], rows['late']['reason']) == (
        'not run',
        'no time left',
    )
    assert 3 < found['seconds'] < 60
    _, (name,) = check(*CPU, '--only', 'late', '--minutes', 0)
    assert name == 'late'


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_no_gpu_is_told(run_tool):
    with pytest.raises(UsageError, match=r'no GPU.*--device cpu --quick'):
        run_tool(TOOL)


def test_wrong_words(run_tool, checks, capsys):
    with pytest.raises(UsageError, match=r"'fp8', but .*fp32"):
        run_tool(TOOL, *CPU, '--only', 'fp8')
    with pytest.raises(SystemExit):
        run_tool(TOOL, '--out', 'figures.txt')
    assert '--out' in capsys.readouterr().err
