"""A real training, small enough to be killed and repeated in a test.

The model has stochastic depth, the images several captions of which one is
drawn, and regions are sampled and mirrored: all that is random in a training
of ours. One image is broken and gets replaced.
"""

import copy
import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Dict, Optional

import tiny_clips
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from processes import finish, rank_environments, write_output_to

from harmoclip_mm.engine import CheckpointGuard, build_runner, setup_resume
from harmoclip_mm.errors import run_command
from harmoclip_mm.models.checkpoints import load_weights_only

CLIP = copy.deepcopy(tiny_clips.EVA02)
CLIP['vision_cfg']['timm_drop_path'] = 0.3
IMAGES, BATCH = 22, 4  # 5 iterations an epoch, 2 images left over
WORDS = 'red dog', 'blue car', 'tree on the left', 'old man', 'green bird'


@HOOKS.register_module(force=True)
class RecordLosses(Hook):
    """Append iteration, images and exact losses of rank 0 to a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        if get_rank():
            return
        record = {
            'iter': runner.iter,
            'images': [s.img_path[-6:] for s in data_batch['data_samples']],
            **{name: float(x).hex() for name, x in outputs.items()},
        }
        with open(self.path, 'a') as file:
            file.write(json.dumps(record) + '\n')


@HOOKS.register_module(force=True)
class KillAt(Hook):
    """End this process as the kernel would when memory is short."""

    priority = 'LOWEST'

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        if runner.iter + 1 == self.iteration:
            os.kill(os.getpid(), signal.SIGKILL)


@OPTIM_WRAPPERS.register_module(force=True)
class CPUAmpOptimWrapper(AmpOptimWrapper):
    """mmengine's, which asks for a GPU, in bfloat16 on the CPU.

    The scale grows every third step, so that it and its counter matter.
    """

    def __init__(self, **kwargs) -> None:
        OptimWrapper.__init__(self, **kwargs)
        self._scale_update_param = None
        self.loss_scaler = torch.amp.GradScaler(
            'cpu', init_scale=3.0, growth_interval=3
        )
        self.cast_dtype = torch.bfloat16


def write_data(data) -> None:
    """Write pictures and lines into a folder of the fixture ``tiny_data``."""
    lines = []
    for number in range(IMAGES):
        name = f'{number:02d}.png'
        data.image(name)
        for line in range(1 + number % 3):
            words = [WORDS[(number + line + k) % len(WORDS)] for k in range(3)]
            regions = [
                {'bbox': [5 * k, 4 * k, 20 + 5 * k, 30 + 2 * k], 'phrase': w}
                for k, w in enumerate(words)
            ]
            lines.append(
                data.grounding(name, 'a ' + ' and a '.join(words), *regions)
            )
    (data.root / 'images' / '07.png').write_bytes(b'not an image')
    data.jsonl(*lines)


def make_config(root: Path, work_dir: str, **changes) -> Config:
    """Config of the training.

    Args:
        root (Path): Folder of the data.
        work_dir (str): Work folder, below ``root``.
        **changes: Dotted settings with ``__`` instead of the dots.
    """
    scale = (32, 32)
    cfg = Config(
        dict(
            default_scope='harmoclip_mm',
            work_dir=str(root / work_dir),
            experiment_name=f'{work_dir}_{os.getpid()}',
            randomness=dict(seed=5),
            model=dict(
                type='HarmoCLIP',
                clip=CLIP,
                data_preprocessor=dict(
                    type='mmdet.DetDataPreprocessor',
                    mean=[120.0] * 3,
                    std=[60.0] * 3,
                    bgr_to_rgb=True,
                ),
                region_extractor=dict(type='RoIFeatureExtractor'),
                heads=dict(
                    gc=dict(type='GlobalContrastiveHead'),
                    lrc=dict(type='RegionPhraseHead', temperature='own'),
                    gr=dict(type='RegionAlignmentHead', mode='text'),
                ),
            ),
            train_dataloader=dict(
                batch_size=BATCH,
                num_workers=2,
                persistent_workers=True,
                sampler=dict(type='ResumableSampler', shuffle=True),
                drop_last=True,
                dataset=dict(
                    type='RegionPhraseDataset',
                    data_root=str(root),
                    ann_file='odvg.jsonl',
                    data_prefix=dict(img='images'),
                    pipeline=[
                        dict(type='LoadCheckedImage'),
                        dict(type='mmdet.LoadAnnotations', with_bbox=True),
                        dict(type='TextAwareRandomFlip', prob=0.5),
                        dict(
                            type='mmdet.Resize', scale=scale, keep_ratio=False
                        ),
                        dict(type='SampleRegions', max_regions=2),
                        dict(type='TokenizeRegionText', clip=CLIP),
                        dict(type='PackRegionTextInputs'),
                    ],
                ),
            ),
            train_cfg=dict(type='ResumableEpochTrainLoop', max_epochs=3),
            optim_wrapper=dict(
                type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)
            ),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=7),
                dict(
                    type='CosineAnnealingLR',
                    T_max=3,
                    by_epoch=True,
                    convert_to_iter_based=True,
                ),
            ],
            default_hooks=dict(
                checkpoint=dict(
                    type='AtomicCheckpointHook',
                    by_epoch=False,
                    interval=2,
                    max_keep_ckpts=2,
                ),
                sampler_seed=dict(type='DistSamplerSeedHook'),
                exact_resume=dict(type='ExactResumeHook'),
                invalid_loss=dict(type='InvalidLossHook'),
            ),
            custom_hooks=[
                dict(type='EMAHook', momentum=0.1),
                dict(type='RecordLosses', path=str(root / work_dir) + '.txt'),
            ],
            env_cfg=dict(mp_cfg=dict(mp_start_method='fork')),
        )
    )
    changes = copy.deepcopy(changes)  # merging takes `_delete_` out
    cfg.merge_from_dict({k.replace('__', '.'): v for k, v in changes.items()})
    return cfg


def _train(
    cfg: Config, kill_at: Optional[int], resume: bool, ranks: Dict[str, str]
) -> None:
    log = f'{cfg.work_dir}/log{ranks.get("RANK", "")}.txt'
    write_output_to(log, 'w')
    os.environ.update(ranks)
    torch.set_num_threads(1)
    if kill_at is not None:
        cfg.custom_hooks.append(dict(type='KillAt', iteration=kill_at))

    def main():
        if resume:
            setup_resume(cfg)
        launcher = 'pytorch' if ranks else 'none'
        build_runner(cfg, launcher, CheckpointGuard(strict=resume)).train()

    run_command(main)


def train(
    cfg: Config,
    kill_at: Optional[int] = None,
    resume: bool = False,
    ranks: int = 1,
) -> int:
    """Train in processes of their own, forked, to save the imports.

    Args:
        cfg (Config): What :func:`make_config` gives.
        kill_at (int, optional): Iterations after which they get SIGKILL.
        resume (bool): Whether to resume from the latest checkpoint.
        ranks (int): Number of processes. Defaults to 1.

    Returns:
        int: The exit status of all, -9 after SIGKILL. The output is in the
        file ``log.txt`` of the work folder, of several processes in
        ``log0.txt`` and so on.
    """
    os.makedirs(cfg.work_dir, exist_ok=True)
    environments = rank_environments(ranks) if ranks > 1 else [{}]
    context = multiprocessing.get_context('fork')
    processes = [
        context.Process(target=_train, args=(cfg, kill_at, resume, each))
        for each in environments
    ]
    for process in processes:
        process.start()
    (code,) = set(finish(processes))
    return code


def output(cfg: Config) -> str:
    """What the last training printed, without the environment and config."""
    texts = [path.read_text() for path in Path(cfg.work_dir).glob('log*.txt')]
    return '\n'.join(
        text.split('Hooks will be executed')[-1] for text in texts
    )


def records(cfg: Config) -> list:
    """What :class:`RecordLosses` wrote."""
    lines = Path(cfg.work_dir + '.txt').read_text().splitlines()
    return [json.loads(line) for line in lines]


def latest(cfg: Config) -> dict:
    """The checkpoint that ``last_checkpoint`` names."""
    path = Path(cfg.work_dir, 'last_checkpoint').read_text()
    return load_weights_only(path)


def assert_equal(a, b, where: str = '') -> None:
    """Compare nested containers of tensors bit by bit."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f'{where}/{key}')
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for number, pair in enumerate(zip(a, b)):
            assert_equal(*pair, f'{where}/{number}')
    elif torch.is_tensor(a):
        assert torch.equal(a, b), where
    else:
        assert a == b, where
