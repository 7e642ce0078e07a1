# AP on COCO, 80 classes, of proposals read from a file (PROPOSALS):
# coco/bbox_mAP. The boxes of a detector, named by the CLIP alone.
# Another CLIP: --cfg-options clip=NAME.
_base_ = [
    '../_base_/evaluation/proposals.py',
    '../_base_/datasets/coco_regions.py',
]
test_dataloader = _base_.proposals_loader
# what counts given boxes has nothing to count
test_evaluator = _base_.test_evaluator[1:]
