"""Nothing is made on another device, and few steps wait for one.

Fake tensors of a device that need not be there compute shapes and refuse to
mix devices. What depends on values cannot be computed so and is stood in for:
the cut of texts at their longest, distinct rows, and places of a mask.
"""

from collections import Counter

import pytest
import torch
from every_kind import CLIPS, METHODS, TASKS
from mmengine.structures import InstanceData
from mmengine.utils import digit_version
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode

from harmoclip_mm.registry import MODELS


@pytest.fixture
def elsewhere(monkeypatch):
    """Runs a model and samples on a device that is not there."""
    if digit_version(torch.__version__) < digit_version('2.6'):
        pytest.skip('fake tensors of a device want its driver before 2.6')
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    monkeypatch.setattr(FakeTensor, '__int__', lambda x: 77)
    monkeypatch.setattr(FakeTensor, 'tolist', lambda x: [77] * len(x))
    monkeypatch.setattr(
        torch.Tensor,
        'unique',
        lambda x, **_: (x, torch.arange(len(x), device=x.device)),
    )

    def nonzero(x, as_tuple=False):
        places = x.new_zeros((3, x.dim()), dtype=torch.long)
        return places.unbind(1) if as_tuple else places

    monkeypatch.setattr(torch.Tensor, 'nonzero', nonzero)
    monkeypatch.setattr(FakeTensor, '__bool__', lambda x: False)
    fake = FakeTensorMode()

    def away(tensor):
        return fake.from_tensor(tensor).to('cuda')

    def move(part):
        for key in list(part.keys()):
            value = part.get(key)
            if isinstance(value, InstanceData):
                move(value)
            value = getattr(value, 'tensor', value)
            if isinstance(value, torch.Tensor):
                delattr(part, key)
                setattr(part, key, away(value))

    def run(cfg, samples, mode):
        model = MODELS.build(cfg).train(mode == 'loss')
        with fake:
            for sample in samples:
                move(sample)
            model._apply(away)
            img = torch.empty((len(samples), 3, 64, 64), device='cuda')
            return model(img, samples, mode=mode)

    yield run
    torch.__future__.set_overwrite_module_params_on_conversion(False)


@pytest.mark.parametrize('method', METHODS)
def test_losses_are_where_the_images_are(elsewhere, tiny_cfg, samples, method):
    losses = elsewhere({**tiny_cfg, **METHODS[method]}, samples, 'loss')
    assert {loss.device.type for loss in losses.values()} == {'cuda'}


@pytest.mark.parametrize('clip', CLIPS)
def test_towers_of_every_family(elsewhere, tiny_cfg, make_sample, clip):
    cfg = dict(tiny_cfg, clip=CLIPS[clip] or tiny_cfg['clip'])
    if CLIPS[clip] is not None:
        cfg.update(predictors=None, heads=dict())
    pooled = elsewhere(cfg, [make_sample('', [])] * 2, 'tensor')
    assert pooled.device.type == 'cuda' and len(pooled) == 2


@pytest.mark.parametrize('task', TASKS)
def test_predictions_are_where_the_images_are(
    elsewhere, tiny_cfg, samples, task, monkeypatch
):
    if TASKS[task]:
        tiny_cfg['predictors'] = TASKS[task]
    if task == 'proposals':  # the NMS counts, which a fake cannot
        monkeypatch.setattr(
            'harmoclip_mm.models.predictors.class_predictors.batched_nms',
            lambda boxes, scores, labels, cfg: (
                boxes,
                torch.arange(len(boxes), device=boxes.device),
            ),
        )
    for sample in samples:
        sample.candidate_ids = torch.ones(1, 77).long()
        sample.proposals = InstanceData(
            bboxes=torch.rand(4, 4), scores=torch.rand(4)
        )
    for sample in elsewhere(tiny_cfg, samples, 'predict'):
        made = sample.get('pred_instances', sample)
        found = [v for v in made.values() if isinstance(v, torch.Tensor)]
        assert found and {each.device.type for each in found} == {'cuda'}


def test_a_tensor_of_another_device_is_found(elsewhere, tiny_cfg, samples):
    class Forgetful(torch.nn.Module):
        def forward(self, left, right, *_, **__):
            return (left * torch.ones(len(left), 1)).sum()

    MODELS.register_module(module=Forgetful)
    try:
        tiny_cfg['heads'] = dict(
            lrc=dict(type='RegionPhraseHead', loss=dict(type='Forgetful'))
        )
        with pytest.raises(RuntimeError, match='device'):
            elsewhere(tiny_cfg, samples, 'loss')
    finally:
        MODELS._module_dict.pop('Forgetful')


class Waits(TorchFunctionMode):
    """Counts what waits for the device to know a value."""

    NAMES = (
        'item',
        'tolist',
        'cpu',
        'numpy',
        'nonzero',
        '__bool__',
        '__int__',
    )

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, '__name__', '')
        if name in self.NAMES or name.startswith('unique'):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def test_a_step_waits_for_few_values(tiny_model, make_sample, monkeypatch):
    """As often for eight images with many regions as for one with one, and
    before the vision tower has to be waited for."""
    box = [0.0, 0.0, 16.0, 16.0]
    counts, before = [], []
    encode = tiny_model.backbone.encode

    def count(*args, **kwargs):
        before.append(sum(waits.found.values()))
        return encode(*args, **kwargs)

    monkeypatch.setattr(tiny_model.backbone, 'encode', count)
    for images, regions in ((1, 1), (8, 5)):
        samples = [
            make_sample(f'a dog and cat {i}', [(box, 'dog', True)] * regions)
            for i in range(images)
        ]
        with Waits() as waits:
            losses = tiny_model(
                torch.rand(images, 3, 32, 32), samples, mode='loss'
            )
            sum(losses.values()).backward()
        counts.append(waits.found)
    assert counts[0] == counts[1]
    # facts of the texts, distinct phrases, and tokens of lexemes
    assert sum(counts[0].values()) == 3
    assert before == [3, 3]


def test_a_teacher_is_asked_once_whether_it_is_set(tiny_cfg, make_sample):
    model = MODELS.build({**tiny_cfg, **METHODS['clipself']})
    box = [0.0, 0.0, 16.0, 16.0]
    sample, counts = make_sample('a dog', [(box, 'dog', True)]), []
    for step in range(3):
        with Waits() as waits:
            model(torch.rand(1, 3, 32, 32), [sample], mode='loss')
        counts.append(sum(waits.found.values()))
        if step == 1:  # weights of elsewhere may have been set or not
            state = model.state_dict()
            state['teacher.is_set'].fill_(False)
            model.load_state_dict(state)
    assert counts == [1, 0, 1]
    assert model.teacher.is_set
