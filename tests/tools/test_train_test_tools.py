"""``tools/train.py``, ``tools/test.py`` and their launchers, run for real."""

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
import uuid
from pathlib import Path

import mmengine
import pytest
import torch
from mmengine.config import Config
from processes import free_port, run_python, tool_environment

REPO = Path(__file__).parents[2]
PYTHONPATH = os.pathsep.join([str(REPO), str(Path(__file__).parent)])
NUM_TEST = 11  # odd: the last batch of two processes is uneven

CONFIG = """
custom_imports = dict(
    imports=['harmoclip_mm', 'toy_project'], allow_failed_imports=False)
default_scope = 'harmoclip_mm'
randomness = dict(seed=0)
model = dict(
    type='ToyClassifier',
    init_cfg=dict(type='Constant', layer='Linear', val=0.0, bias=0.0))
train_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(type='ToyBoxes', folder={folder!r}, length=64))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=1.0, momentum=0.9))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
val_dataloader = test_dataloader = dict(
    batch_size=2, num_workers=0, drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(type='ToyBoxes', folder={folder!r}, length={num_test}))
val_cfg = dict()
test_cfg = dict()
val_evaluator = test_evaluator = [
    dict(type='BoxClassificationMetric', topk=(1, 2)),
    dict(type='ImageTextRetrievalMetric', topk=(1,))]
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2))
auto_scale_lr = dict(base_batch_size=8)
"""


def _run(cwd, command, *args, code=0, **env):
    """Run a script of the tools; returns what it printed."""
    result = subprocess.run(
        ['bash', str(REPO / 'tools' / command), *map(str, args)],
        cwd=cwd,
        env=tool_environment(PYTHONPATH=PYTHONPATH, **env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert result.returncode == code, result.stdout
    return result.stdout


def _run_here(cwd, command, *args, options=(), code=0):
    """The same in this process, which saves what a start takes.

    Two runs of one second would share a logger: each has its own name.
    """
    options = (f'experiment_name={uuid.uuid4().hex}', *options)
    words = [command, *map(str, args), '--cfg-options', *options]
    printed = io.StringIO()
    status = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.setattr(sys, 'argv', words)
        with contextlib.redirect_stdout(printed):
            try:
                runpy.run_path(str(REPO / 'tools' / command), None, '__main__')
            except SystemExit as end:
                status = int(bool(end.code))
                print(end.code)
    assert status == code, printed.getvalue()
    return printed.getvalue()


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp('project')
    (folder / 'images').mkdir()
    text = CONFIG.format(folder=str(folder / 'images'), num_test=NUM_TEST)
    (folder / 'toy.py').write_text(text)
    return folder


@pytest.fixture(scope='module')
def trained(project):
    """Two iterations in one process."""
    _run_here(project, 'train.py', 'toy.py', '--work-dir', 'two')
    return project / 'two' / 'iter_2.pth'


@pytest.fixture(scope='module')
def tested(project, trained, run_apart):
    """The evaluation of ``trained`` in one process."""
    output = run_apart(
        'test.py', 'toy.py', trained, '--metrics-out', 'm/one.json',
        '--out', 'one.pkl', '--show-dir', 'drawn',
        cwd=project, PYTHONPATH=PYTHONPATH,
    )  # fmt: skip
    return output, json.loads((project / 'm/one.json').read_text())


def _weights(path):
    from harmoclip_mm.models.checkpoints import load_weights_only

    return load_weights_only(str(path))['state_dict']


@pytest.mark.slow
def test_resuming_equals_an_uninterrupted_run(project, trained):
    more = dict(options=['train_cfg.max_iters=4'])
    # copies the run of two iterations, then goes on
    output = _run_here(
        project, 'train.py', 'toy.py', '--work-dir', 'resumed',
        '--resume', trained, **more,
    )  # fmt: skip
    assert 'resumed epoch: 0, iter: 2' in output
    _run_here(project, 'train.py', 'toy.py', '--work-dir', 'four', **more)
    resumed = _weights(project / 'resumed' / 'iter_4.pth')
    straight = _weights(project / 'four' / 'iter_4.pth')
    before = _weights(trained)
    for name, value in straight.items():
        assert torch.equal(resumed[name], value)
        assert not torch.equal(before[name], value)


@pytest.mark.slow
def test_resume_without_a_value_takes_the_latest(project, trained):
    output = _run_here(
        project, 'train.py', 'toy.py', '--work-dir', trained.parent,
        '--resume',
    )  # fmt: skip
    assert f'Load checkpoint from {trained}' in output
    assert f'Checkpoints are in {trained.parent}' in output


@pytest.mark.slow
def test_metrics_predictions_and_drawings(project, tested):
    output, metrics = tested
    assert set(metrics) == {
        f'box_cls/{group}{kind}top{k}'
        for group in ('', 'warm_', 'cold_')
        for kind in ('', 'macro_')
        for k in (1, 2)
    } | {'retrieval/i2t_r1', 'retrieval/t2i_r1'}
    assert all(type(value) is float for value in metrics.values())
    for name in ('m/one.json', 'one.pkl', 'drawn', 'log of this run'):
        assert name in output
    for noise in ('prefix is not set', 'Loads checkpoint', 'has been saved'):
        assert noise not in output

    records = mmengine.load(project / 'one.pkl')
    assert [record['img_id'] for record in records] == list(range(NUM_TEST))
    first = [r['pred_instances']['topk_labels'][:, 0] for r in records]
    labels = [r['gt_instances']['labels'] for r in records]
    hits = (torch.cat(first) == torch.cat(labels)).double()
    assert len(hits) == sum(i % 3 for i in range(NUM_TEST))
    assert metrics['box_cls/top1'] == pytest.approx(100 * hits.mean().item())
    drawn = sorted(p.name for p in (project / 'drawn').iterdir())
    assert drawn == sorted(f'{i}.png' for i in range(NUM_TEST))


@pytest.mark.slow
def test_none_evaluates_the_model_as_initialised(project):
    _run_here(
        project, 'test.py', 'toy.py', 'none', '--metrics-out', 'none.json',
        '--out', 'none.pkl',
    )  # fmt: skip
    metrics = json.loads((project / 'none.json').read_text())
    # init_cfg makes all scores equal, and a tie is never a hit by luck
    records = mmengine.load(project / 'none.pkl')
    labels = torch.cat([r['gt_instances']['labels'] for r in records])
    scores = torch.cat([r['pred_instances']['scores'] for r in records])
    assert torch.allclose(scores, torch.full_like(scores, 1 / 3))
    assert 0 < (labels == 0).double().mean().item() < 1
    assert metrics['box_cls/top1'] == metrics['box_cls/top2'] == 0


@pytest.mark.slow
def test_another_architecture_is_refused(project, trained):
    options = ['model.num_classes=5']
    for command, args in (
        ('test.py', (trained,)),
        ('train.py', ('--work-dir', 'refused', '--resume', trained)),
    ):
        output = _run_here(
            project, command, 'toy.py', *args, options=options, code=1
        )
        assert 'of another model' in output
        # torch's own report names the weight and both shapes
        assert all(
            word in output for word in ('fc.weight', '[3, 3]', '[5, 3]')
        )
        assert 'Traceback' not in output


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('train.py', 'nowhere.py'), 'config file nowhere.py does not exist'),
        (('test.py', 'nowhere.py', 'none'), 'config file nowhere.py does not'),
        (('train.py', 'empty.py'), 'config empty.py has no model'),
        (('train.py', 'flexible.py'), "flexible.py asks for 'FlexibleRunner'"),
        (
            ('test.py', 'toy.py', 'none', '--cfg-options',
             'test_dataloader=None'),
            'config toy.py has no test_dataloader',
        ),
        (
            ('train.py', 'toy.py', '--resume', 'no.pth'),
            'checkpoint no.pth to resume from does not exist',
        ),
        (
            ('test.py', 'toy.py', 'no.pth'),
            'checkpoint no.pth does not exist; "none" evaluates the model',
        ),
        (
            ('test.py', 'toy.py', 'none', '--metrics-out', 'toy.py/m.json'),
            'toy.py/m.json cannot be written (',
        ),
        (
            ('train.py', 'toy.py', '--launcher', 'pytorch'),
            'needs the environment variable RANK: start with tools/dist_',
        ),
        (
            ('train.py', 'toy.py', '--launcher', 'slurm'),
            'needs the environment variable SLURM_PROCID',
        ),
        (
            ('train.py', 'toy.py', '--auto-scale-lr', '--cfg-options',
             'auto_scale_lr={}'),
            'auto_scale_lr = dict(base_batch_size=...) in the config',
        ),
        (
            ('train.py', 'toy.py', '--cfg-options', 'train_cfg.max_epochs=2'),
            'train_cfg.max_epochs is no setting of this loop (',
        ),
        pytest.param(
            ('train.py', 'toy.py', '--amp'),
            '--amp needs a GPU and none is visible',
            marks=pytest.mark.skipif(
                torch.cuda.is_available(), reason='there is a GPU'
            ),
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(
    project, monkeypatch, args, message
):
    tool, *rest = args
    monkeypatch.chdir(project)
    (project / 'empty.py').touch()
    (project / 'flexible.py').write_text(
        "_base_ = 'toy.py'\nrunner_type = 'FlexibleRunner'\n"
    )
    monkeypatch.setattr(sys, 'argv', [tool, *rest])
    monkeypatch.setenv('LOCAL_RANK', '0')
    for name in ('RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as error:
        runpy.run_path(str(REPO / 'tools' / tool), run_name='__main__')
    assert error.value.code.startswith('Error: ')
    assert message in error.value.code
    assert '\n' not in error.value.code


@pytest.mark.parametrize('flag', ['--out', '--metrics-out'])
def test_output_files_have_their_extension(monkeypatch, capsys, flag):
    argv = ['test.py', 'toy.py', 'none', flag, 'file.txt']
    monkeypatch.setattr(sys, 'argv', argv)
    with pytest.raises(SystemExit):
        runpy.run_path(str(REPO / 'tools' / 'test.py'), run_name='__main__')
    assert f'{flag} must name a .' in capsys.readouterr().err


@pytest.mark.slow
def test_the_end_names_the_folder_of_the_checkpoints(project):
    (project / 'elsewhere').mkdir()
    (project / 'elsewhere' / 'other.pth').touch()
    hook, disk = 'default_hooks.checkpoint', project / 'disk'
    for setting, told in (
        (f'{hook}.out_dir={disk}', f'Checkpoints are in {disk}/elsewhere'),
        (f'{hook}=None', 'No checkpoint was saved'),
    ):
        output = _run_here(
            project, 'train.py', 'toy.py', '--work-dir', 'elsewhere',
            options=[setting],
        )  # fmt: skip
        assert told in output


@pytest.mark.slow
def test_two_processes_train_and_test_on_the_cpu(project, tested):
    output = _run(
        project, 'dist_train.sh', 'toy.py', 2, '--work-dir', 'dist',
        '--cfg-options', 'find_unused_parameters=True', '--auto-scale-lr',
        PORT=free_port(),
    )  # fmt: skip
    assert ' on 2 x ' in output
    # 2 processes x 2 samples, made for 8
    assert 'LR is set based on batch size of 8 and the current batch size' in (
        output
    )
    assert (project / 'dist' / 'iter_2.pth').is_file()
    _run(
        project, 'dist_test.sh', 'toy.py', project / 'two' / 'iter_2.pth', 2,
        '--metrics-out', 'two.json', '--out', 'two.pkl', PORT=free_port(),
    )  # fmt: skip
    _, metrics = tested
    assert json.loads((project / 'two.json').read_text()) == metrics
    records = mmengine.load(project / 'two.pkl')
    assert [record['img_id'] for record in records] == list(range(NUM_TEST))


@pytest.mark.slow
def test_slurm_script_passes_its_arguments_on(project, tested):
    # no cluster here: ``srun`` tells its words, whose task is started below
    srun = project / 'bin' / 'srun'
    srun.parent.mkdir()
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > words.txt\n')
    srun.chmod(0o755)
    env = {
        'PATH': f'{srun.parent}{os.pathsep}{os.environ["PATH"]}',
        'GPUS': '2',
        'GPUS_PER_NODE': '2',
        'SRUN_ARGS': '--quotatype=auto --exclusive',
    }
    _run(
        project, 'slurm_test.sh', 'part', 'job', 'toy.py',
        project / 'two' / 'iter_2.pth', '--metrics-out', 'slurm.json', **env,
    )  # fmt: skip
    words = (project / 'words.txt').read_text().splitlines()
    place = words.index(sys.executable)
    told = ' '.join(words[:place])
    assert '-p part --job-name=job --gres=gpu:2 --ntasks=2' in told
    assert '--kill-on-bad-exit=1 --quotatype=auto --exclusive' in told
    assert words[place + 1] == '-u'
    tasks = dict(
        SLURM_NTASKS='2',
        SLURM_NODELIST='localhost',
        MASTER_PORT=free_port(),
        PYTHONPATH=PYTHONPATH,
    )
    log = project / 'slurm.txt'
    codes = run_python(
        words[place + 2 :],
        log,
        [
            tool_environment(SLURM_PROCID=i, SLURM_LOCALID=i, **tasks)
            for i in '01'
        ],
        project,
    )
    assert codes == [0, 0], log.read_text()
    _, metrics = tested
    assert json.loads((project / 'slurm.json').read_text()) == metrics


@pytest.mark.parametrize(
    'script',
    ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'],
)
def test_scripts_explain_themselves(tmp_path, script):
    output = _run(tmp_path, script, 'config.py', code=2)
    assert output.startswith(f'Usage: bash {REPO}/tools/{script}')
    assert 'CONFIG' in output and 'Environment' in output


@pytest.mark.parametrize(
    ('processes', 'given', 'threads'),
    [(1, '', ''), (2, '', '1'), (2, '3', '3')],
)
def test_torchrun_has_nothing_to_warn_of(tmp_path, processes, given, threads):
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\necho "threads=$OMP_NUM_THREADS"\n')
    python.chmod(0o755)
    command = ['bash', str(REPO / 'tools/dist_train.sh'), 'config.py']
    env = {**os.environ, 'PYTHON': str(python), 'OMP_NUM_THREADS': given}
    done = subprocess.run(
        [*command, str(processes)], env=env, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout == f'threads={threads}\n'


def test_random_weights_are_told_from_a_start():
    is_random = runpy.run_path(str(REPO / 'tools/train.py'))['is_random']
    weights = dict(type='Pretrained', checkpoint='a.pt')
    for cfg, random in (
        (dict(model=dict()), False),  # a schedule that learns from nothing
        (dict(model=dict(), needs_weights=True), True),
        (dict(model=dict(), needs_weights=True, load_from='a.pt'), False),
        (dict(model=dict(init_cfg=weights), needs_weights=True), False),
        (
            dict(
                model=dict(backbone=dict(init_cfg=weights)),
                needs_weights=True,
            ),
            False,
        ),
    ):
        assert is_random(Config(cfg)) == random
    for name, needed in (('vitb16_coco', True), ('tiny_photos', False)):
        path = REPO / f'configs/harmoclip_{name}.py'
        assert Config.fromfile(str(path)).needs_weights == needed
