# CLIPSelf on shapes, for a CPU. It teaches regions what whole crops already
# are: start from a trained CLIP, by load_from.
_base_ = ['./_base_/tiny.py', '../../../configs/_base_/methods/clipself.py']
clip = dict(_delete_=True, **_base_.tiny_clip)
model = dict(predictors=_base_.predictors)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:2],
            # Cells of 2 patches a side at least: published are 6 splits for
            # a grid of 64.
            {**_base_.grid_regions, 'max_splits': 3},
            *_base_.train_pipeline[2:],
        ]
    )
)
