# What evaluations of a CLIP share: the CLIP, chosen by its line or by
# `--cfg-options clip=NAME`, and images at its size, resized as it was trained
# with. A config puts these pieces into its pipeline.
_base_ = ['../models/clip.py', '../default_runtime.py']

# each protocol names its own predictors
model = dict(clip=_base_.clip, predictors=dict(_delete_=True))

test_cfg = dict(type='TestLoop')
loader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
)
native = dict(type='CLIPResize', clip=_base_.clip, mode='native')
squash = dict(type='CLIPResize', clip=_base_.clip, mode='squash')
# for a dense map of 64 x 64 cells: 1024 px with patches of 16
longest_side_and_pad = dict(
    type='CLIPResize', clip=_base_.clip, mode='longest', map_cells=64
)
# classes of given boxes, by the prompts of CLIP and of ViLD
openai80 = dict(
    boxes=dict(type='BoxClassPredictor', classifier=dict(templates='openai80'))
)
vild63 = dict(
    boxes=dict(type='BoxClassPredictor', classifier=dict(templates='vild63'))
)
