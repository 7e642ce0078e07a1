"""Training on several processes is the training of one, to rounding.

The whole model, under ``MMDistributedDataParallel`` and mmengine's optimiser
wrapper, in float64, in real processes.
"""

import copy
import re

import pytest
import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope

from harmoclip_mm.engine import close_launcher
from harmoclip_mm.registry import MODELS

STEPS = 3
SIGMOID = dict(type='SigmoidContrastiveLoss')
HEADS = dict(
    gc=dict(type='GlobalContrastiveHead'),
    lrc=dict(type='RegionPhraseHead'),
    gr=dict(type='RegionAlignmentHead', mode='text'),
)
CFG = dict(
    type='HarmoCLIP',
    clip=dict(
        embed_dim=8,
        quick_gelu=True,
        vision_cfg=dict(
            image_size=16,
            layers=2,
            width=16,
            head_width=8,
            mlp_ratio=2,
            patch_size=8,
        ),
        text_cfg=dict(width=8, heads=2, layers=2),
    ),
    # mmdet's would turn float64 to float32
    data_preprocessor=dict(type='mmengine.BaseDataPreprocessor'),
    crop_extractor=dict(type='CropFeatureExtractor'),
    heads=HEADS,
)


def fineclip(mode, **kwargs):
    gr = dict(type='RegionAlignmentHead', mode=mode, **kwargs)
    return dict(gc=HEADS['gc'], gr=gr)


# Changes of the config, and batches of an optimiser step.
METHODS = {
    'harmoclip': ({}, 1),
    'crop': (dict(heads=fineclip('crop')), 1),
    'both': (dict(heads=fineclip('both')), 1),
    'fineclip': (
        dict(
            heads=fineclip('both', crop_encoder='online'),
            frozen=['text_encoder'],
        ),
        1,
    ),
    'clipself': (
        dict(
            heads=dict(gr=fineclip('crop', crop_encoder='teacher')['gr']),
            frozen=[
                'text_encoder',
                'logit_scale',
                r'backbone\.(?!.*blocks\.)',
            ],
        ),
        1,
    ),
    'regionclip': (
        dict(
            heads=dict(
                fineclip('text'), kd=dict(type='ConceptDistillationHead')
            ),
            frozen=['text_encoder'],
        ),
        1,
    ),
    'siglip': (
        dict(
            heads=dict(
                gc=dict(HEADS['gc'], loss=SIGMOID),
                lrc=dict(HEADS['lrc'], loss=SIGMOID),
            )
        ),
        1,
    ),
    'hard': (
        dict(
            heads=dict(
                fineclip('text', weigh_fit=True),
                hard=dict(type='HardNegativeHead'),
            ),
        ),
        1,
    ),
    'micro-batches': (dict(micro_batch_size=2), 1),
    'accumulation': ({}, 2),
}
# Images of each rank, see `images`. The second and the last have a rank
# without a region, the last one a rank without a caption too.
WORLDS = {
    '1': [[0, 1, 2, 3, 4, 5, 6, 7]],
    '2, no region': [[0, 1, 2, 3, 6, 7], [4, 5]],
    '2': [[0, 1, 2], [3, 4, 5, 6, 7]],
    '4': [[0, 3], [1, 2, 4], [5], [6, 7]],
}
CASES = [('harmoclip', world) for world in WORLDS]
CASES += [(method, '4') for method in METHODS if method != 'harmoclip']


@pytest.fixture(scope='module')
def images(make_sample):
    """Eight images; phrases equal to one another lie on different ranks.
    Some have links that are less than certain."""
    box, large, low = [0.0, 0, 8, 8], [2.0, 1, 16, 15], [4.0, 7, 13, 16]
    samples = [
        make_sample(
            'a dog beside a red car',
            [
                (box, 'a dog', True),
                (low, 'red car', True),
                (large, 'red car', True),
            ],
        ),
        make_sample('nothing to see', []),
        make_sample('', [(large, 'cat', False)]),
        make_sample('a cat, a dog', [(low, 'cat', True), (box, 'dog', True)]),
        make_sample('an empty street', []),
        make_sample('', []),
        make_sample('A dog', [(box, 'A dog', True)]),
        make_sample('two birds', [(large, 'red car', False)]),
    ]
    samples[0].gt_instances.scores = torch.tensor([0.3, 1, 0.75])
    samples[3].gt_instances.scores = torch.tensor([0.5, 0.0])
    samples[7].gt_instances.scores = torch.tensor([0.9])
    return samples


def train(method, samples, indices, wrap=lambda model: model, device='cpu'):
    """Losses of each batch, gradients of the first step, parameters."""
    init_default_scope('harmoclip_mm')
    torch.manual_seed(0)
    changes, batches = METHODS[method]
    model = MODELS.build(copy.deepcopy(dict(CFG, **changes)))
    model.init_weights()
    model = model.double().to(device).train()
    network = wrap(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), 1e-3, eps=1e-6, weight_decay=0.1
    )
    wrapper = OptimWrapper(optimizer, accumulative_counts=batches)
    wrapper.initialize_count_status(model, 0, STEPS * batches)
    losses, grads = [], {}

    def keep_first_gradients(*args):
        for name, param in model.named_parameters():
            if param.requires_grad:
                grads.setdefault(name, param.grad.clone())

    optimizer.register_step_pre_hook(keep_first_gradients)
    for step in range(STEPS * batches):
        generator = torch.Generator().manual_seed(step)
        img = torch.randn(8, 3, 16, 16, generator=generator).double()
        batch = dict(
            inputs=img[indices].to(device),
            data_samples=[samples[i].clone().to(device) for i in indices],
        )
        losses.append(network.train_step(batch, wrapper))
    params = {name: p.detach() for name, p in model.named_parameters()}
    return losses, grads, params


def worker(rank, file, backend, cases, samples, folder):
    torch.set_num_threads(1)
    device = f'cuda:{rank}' if backend == 'nccl' else 'cpu'
    ids = [rank] if backend == 'nccl' else None
    for number, (method, world) in enumerate(cases):
        ranks = WORLDS[world]
        if rank >= len(ranks):
            continue
        dist.init_process_group(
            backend, f'{file}{number}', rank=rank, world_size=len(ranks)
        )
        result = train(
            method,
            samples,
            ranks[rank],
            lambda model: MMDistributedDataParallel(model, device_ids=ids),
            device,
        )
        for param in result[-1].values():
            first = param.clone()
            dist.broadcast(first, 0)
            assert torch.equal(first, param)  # ranks never drift apart
        if rank == 0:
            torch.save(result, f'{folder}/{method} {world}.pth')
        dist.barrier()
        close_launcher()


@pytest.fixture(scope='module', params=['gloo', 'nccl'])
def trained(request, run_ranks, images, tmp_path_factory):
    """Function that reads what the processes found, after one start of all."""
    cases = CASES
    if request.param == 'nccl':
        gpus = torch.cuda.device_count()
        cases = [case for case in CASES if len(WORLDS[case[1]]) <= gpus]
        if not cases:
            pytest.skip('nccl needs a GPU')
    folder = tmp_path_factory.mktemp(request.param)
    run_ranks(
        worker,
        max(len(WORLDS[world]) for _, world in cases),
        request.param,
        cases,
        images,
        str(folder),
    )

    def read(method, world):
        if (method, world) not in cases:
            pytest.skip(f'nccl needs {len(WORLDS[world])} GPUs')
        path = folder / f'{method} {world}.pth'
        return torch.load(path, weights_only=True, map_location='cpu')

    return read


@pytest.fixture(scope='module')
def alone(images):
    """What one process without a process group finds, by method."""
    # Micro-batches are no method of their own: they must change nothing.
    plain = [each for each in METHODS if each != 'micro-batches']
    found = {each: train(each, images, list(range(8))) for each in plain}
    return dict(found, **{'micro-batches': found['harmoclip']})


@pytest.mark.parametrize(('method', 'world'), CASES)
def test_equals_one_process(trained, alone, method, world):
    losses, grads, params = trained(method, world)
    expected_losses, expected_grads, expected_params = alone[method]
    kwargs = dict(rtol=1e-9, atol=1e-12, check_dtype=False)
    assert len(losses) == len(expected_losses) >= STEPS
    for one, other in zip(losses, expected_losses):
        torch.testing.assert_close(one, other, **kwargs)
    torch.testing.assert_close(grads, expected_grads, **kwargs)
    # Biases of keys leave a softmax as it is: their gradient is 0, rounding
    # gives 1e-16, and AdamW divides that by its epsilon.
    kwargs['atol'] = 1e-11
    torch.testing.assert_close(params, expected_params, **kwargs)


@pytest.mark.parametrize(
    'method', ['harmoclip', 'fineclip', 'clipself', 'regionclip', 'siglip']
)
def test_training_moves_every_parameter(alone, images, method):
    """Else the comparison above would compare nothing."""
    _, grads, params = alone[method]
    frozen = METHODS[method][0].get('frozen', ())
    assert grads.keys() == {
        name
        for name in params
        if not any(re.match(pattern, name) for pattern in frozen)
    }
    for name, grad in grads.items():
        assert grad.abs().max() > 1e-6, name
        assert params[name].isfinite().all()
