"""Real trainings that become infinite or NaN."""

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner

from harmoclip_mm.errors import UsageError


class Mean(BaseModel):
    """As small as a model can be; `bend` makes its loss of the weight."""

    def __init__(self, bend):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.bend = bend

    def forward(self, inputs, data_samples, mode='loss'):
        pixels = torch.stack(list(inputs)).float().mean()
        return {
            'loss_a': self.bend(self.weight).sum() * pixels,
            'loss_b': self.weight.sum() * 0 + 2,
        }


PACKED = 'harmoclip_mm.packed_collate'  # that of the configs


def train(tiny_data, bend, name, collate=PACKED, **optim_wrapper):
    for number in range(6):
        tiny_data.image(f'{number}.png')
    lines = [tiny_data.grounding(f'{n}.png', 'a dog') for n in range(6)]
    runner = Runner(
        model=Mean(bend),
        work_dir=str(tiny_data.root / 'work'),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='ResumableSampler', shuffle=False),
            collate_fn=dict(type=collate),
            dataset=dict(
                type='RegionPhraseDataset',
                ann_file=tiny_data.jsonl(*lines),
                data_root=str(tiny_data.root),
                data_prefix=dict(img='images'),
                pipeline=[
                    dict(type='LoadCheckedImage'),
                    dict(type='TokenizeRegionText', clip='ViT-B-16'),
                    dict(type='PackRegionTextInputs'),
                ],
            ),
        ),
        train_cfg=dict(type='ResumableEpochTrainLoop', max_epochs=1),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=1.0), **optim_wrapper
        ),
        default_hooks=dict(
            checkpoint=dict(
                type='AtomicCheckpointHook', by_epoch=False, interval=1
            ),
            invalid_loss=dict(type='InvalidLossHook'),
            logger=None,
        ),
        default_scope='harmoclip_mm',
        experiment_name=name,
    )
    runner.train()


def saved(tiny_data):
    return sorted(p.name for p in (tiny_data.root / 'work').glob('*.pth'))


@pytest.mark.parametrize('collate', [PACKED, 'pseudo_collate'])
def test_a_loss_that_is_not_finite_names_the_images(tiny_data, collate):
    # 1, then 1 - 120 or so, of which the logarithm is NaN
    with pytest.raises(UsageError) as error:
        train(tiny_data, lambda w: torch.log(w) + w, f'nan_{collate}', collate)
    message = str(error.value)
    assert 'loss and loss_a not finite in iteration 2 (epoch 1, batch 2) ' in (
        message
    )
    assert 'on rank 0: loss nan, loss_a nan, loss_b 2. ' in message
    images = tiny_data.root / 'images'
    assert message.endswith(f':\n    {images}/2.png\n    {images}/3.png')
    assert saved(tiny_data) == ['iter_1.pth']  # the good one


def test_gradients_that_are_not_finite_count_too(tiny_data):
    # the root of 0 is 0 and its slope infinite, times 0: NaN
    with pytest.raises(UsageError, match=r'^grad_norm not finite in iterat'):
        train(
            tiny_data,
            lambda w: torch.sqrt(w * 0),
            'nan_gradient',
            clip_grad=dict(max_norm=1.0),
        )
    assert saved(tiny_data) == []


def test_a_sound_training_goes_through(tiny_data):
    train(tiny_data, lambda w: w, 'sound', clip_grad=dict(max_norm=1.0))
    assert len(saved(tiny_data)) == 3
