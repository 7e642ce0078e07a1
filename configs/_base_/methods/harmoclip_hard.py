_base_ = './harmoclip.py'
# HarmoCLIP and FG-CLIP's hard negatives, at the weight of FG-CLIP; the
# pipeline needs TokenizeRegionText with `negatives`, see
# ../datasets/coco_hard_negatives.py.
model = dict(
    heads=dict(hard=dict(type='HardNegativeHead', loss=dict(loss_weight=0.5)))
)
