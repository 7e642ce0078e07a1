# CLIPSelf on shapes, for a CPU. It teaches regions what whole crops already
# are: start from a trained CLIP, by load_from.
_base_ = [
    '../_base_/models/clip_tiny.py',
    '../_base_/methods/clipself.py',
    '../_base_/datasets/shapes_region_text.py',
    '../_base_/schedules/adamw_tiny.py',
    '../_base_/runtime_exact.py',
]
model = dict(
    heads=_base_.heads,
    crop_extractor=_base_.crop_extractor,
    frozen=_base_.frozen,
    predictors=dict(boxes=dict(classifier=dict(templates=['a {}']))),
)
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
