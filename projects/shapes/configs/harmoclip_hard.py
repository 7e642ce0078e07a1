# HarmoCLIP and hard negatives on shapes, from a trained CLIP.
_base_ = ['./harmoclip_finetune.py', './_base_/hard_negatives.py']
model = dict(
    heads=dict(hard=dict(type='HardNegativeHead', loss=dict(loss_weight=0.5)))
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:-2],
            *_base_.hard_negative_steps,
            _base_.train_pipeline[-1],
        ]
    )
)
