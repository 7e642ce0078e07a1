# CLIPSelf, ViT-B/16, COCO 2017, 8 GPUs x 2 images, 6 epochs; images of 1024 px
# (longest side, padded), crops of 224. The evaluation is that of the other
# methods, at 224 px; configs/evaluation/box-cls_clipself_coco-panoptic.py has
# CLIPSelf's own. It starts from EVA02_CLIP_B_psz16_s8B: clip=EVA02-B-16.
_base_ = [
    '../_base_/methods/clipself.py',
    '../_base_/datasets/coco_region_text.py',
    '../_base_/schedules/adamw_6e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:3],
            # cells of the image, without the padding
            _base_.grid_regions,
            dict(type='CLIPResize', clip=None, mode='longest', map_cells=64),
            *_base_.train_pipeline[5:],
        ]
    ),
)
