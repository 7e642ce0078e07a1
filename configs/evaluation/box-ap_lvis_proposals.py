# AP on LVIS v1 of proposals read from a file (PROPOSALS): lvis/bbox_AP, and
# bbox_APr, APc, APf of rare, common and frequent classes. The boxes of a
# detector, named by the CLIP alone; LVIS counts 300 detections an image.
# Folders and the package lvis as for box-cls_lvis.py.
# Another CLIP: --cfg-options clip=NAME.
_base_ = [
    '../_base_/evaluation/proposals.py',
    '../_base_/datasets/lvis_regions.py',
]
model = dict(predictors=dict(proposals=dict(max_per_img=300)))
test_dataloader = _base_.proposals_loader
# what counts given boxes has nothing to count
test_evaluator = _base_.test_evaluator[1:]
