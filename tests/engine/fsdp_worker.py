"""Trains a sharded and a whole model: ``fsdp_worker.py FOLDER PORT CLIP``.

Run by ``test_strategies.py`` in a fresh process, which imports the stack once
and forks the ranks. Everything is float64.
"""

import copy
import math
import os
import sys
from pathlib import Path

import tiny_clips
import torch
import torch.distributed as dist
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import multiprocessing
from torch.distributed.fsdp import FullyShardedDataParallel

from harmoclip_mm.engine import CLIPFSDPStrategy
from harmoclip_mm.registry import MODELS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'models'))
from conftest import TINY, make_sample

RANKS = 2
STEPS = 3
IMAGES = 4  # two on each rank; the second rank has no region


def optim_wrapper():
    """AdamW with layer decay, as configs/_base_/schedules/layer_decay.py."""
    return dict(
        type='OptimWrapper',
        constructor='mmpretrain.LearningRateDecayOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.1),
        paramwise_cfg=dict(
            layer_decay_rate=0.5,
            norm_decay_mult=0.0,
            bias_decay_mult=0.0,
            custom_keys=dict(log_scale=dict(decay_mult=0.0)),
        ),
    )


def build_model(clip, with_cp=False):
    """A tiny HarmoCLIP of one seed whose temperature is at its bound."""
    init_default_scope('harmoclip_mm')
    torch.manual_seed(0)
    clip = copy.deepcopy(getattr(tiny_clips, clip))
    clip['text_cfg']['context_length'] = 77  # that of the samples
    parts = dict(backbone=dict(with_cp=with_cp), classifier=None)
    model = MODELS.build(dict(TINY, clip=clip, **parts))
    model.init_weights()
    model.logit_scale.log_scale.data.fill_(math.log(99.9))
    model.init_weights = lambda: None  # the strategy would draw again
    return model.double().train()


def batch():
    """Inputs and samples of the global batch."""
    torch.manual_seed(1)
    boxes = ([0.0, 0.0, 16.0, 16.0], [8.0, 8.0, 32.0, 30.0])
    samples = [
        make_sample(
            'a dog beside a red car',
            [(boxes[0], 'dog', True), (boxes[1], 'red car', True)],
        ),
        make_sample('two cats', [(boxes[0], 'cat', False)]),
        make_sample('nothing to see', []),
        make_sample('a street', []),
    ]
    for each in samples:
        each.gt_instances.bboxes = each.gt_instances.bboxes.double()
    return torch.randn(IMAGES, 3, 32, 32).double(), samples


def train(model, wrapper, part):
    """Steps on a part of the global batch; returns the losses."""
    inputs, samples = batch()
    history = []
    for _ in range(STEPS):
        losses = model(inputs[part], samples[part], mode='loss')
        wrapper.update_params(sum(losses.values()))
        history.append({name: loss.item() for name, loss in losses.items()})
    return history


def run_rank(rank, folder, port, clip):
    """One rank of sharded training; rank 0 writes what came out."""
    torch.set_num_threads(1)
    os.environ.update(
        MASTER_ADDR='127.0.0.1', MASTER_PORT=port, LOCAL_RANK=str(rank)
    )
    dist.init_process_group('gloo', rank=rank, world_size=RANKS)
    strategy = CLIPFSDPStrategy(
        work_dir=folder,
        env_kwargs=dict(launcher='pytorch', randomness=dict(seed=0)),
        log_kwargs=dict(log_level='ERROR'),
    )
    strategy.prepare(
        build_model(clip, with_cp=True), optim_wrapper=optim_wrapper()
    )
    model = strategy.model
    units = [
        name.replace('_fsdp_wrapped_module.', '')
        for name, module in model.named_modules()
        if isinstance(module, FullyShardedDataParallel)
    ]
    held = sum(weight.numel() for weight in model.parameters())
    share = IMAGES // RANKS
    part = slice(rank * share, (rank + 1) * share)
    losses = train(model, strategy.optim_wrapper, part)
    torch.save(losses, f'{folder}/losses{rank}.pt')
    torch.save(held, f'{folder}/held{rank}.pt')
    torch.save(units, f'{folder}/units.pt')
    strategy.save_checkpoint(f'{folder}/sharded.pth')

    # a fresh sharded model takes the checkpoint, optimizer included
    again = CLIPFSDPStrategy(
        work_dir=folder,
        env_kwargs=dict(launcher='pytorch', randomness=dict(seed=0)),
        log_kwargs=dict(log_level='ERROR'),
    )
    again.prepare(
        build_model(clip, with_cp=True), optim_wrapper=optim_wrapper()
    )
    checkpoint = again.load_checkpoint(f'{folder}/sharded.pth')
    again.load_optim_state_dict(checkpoint['optimizer'])
    losses = train(again.model, again.optim_wrapper, part)
    torch.save(losses, f'{folder}/resumed{rank}.pt')
    losses = train(model, strategy.optim_wrapper, part)
    torch.save(losses, f'{folder}/straight{rank}.pt')
    dist.destroy_process_group()


def run_whole(folder, clip):
    """The same training in one process on the global batch."""
    model = build_model(clip)
    wrapper = build_optim_wrapper(model, optim_wrapper())
    torch.save(train(model, wrapper, slice(None)), f'{folder}/losses.pt')
    torch.save(model.state_dict(), f'{folder}/whole.pt')


if __name__ == '__main__':
    folder, port, clip = sys.argv[1:]
    multiprocessing.start_processes(
        run_rank,
        args=(folder, port, clip),
        nprocs=RANKS,
        start_method='fork',
    )
    run_whole(folder, clip)
