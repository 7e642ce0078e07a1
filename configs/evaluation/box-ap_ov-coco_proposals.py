# AP on OV-COCO of proposals that a file holds (PROPOSALS), base and novel
# apart: ov_coco/base_ap50, ov_coco/novel_ap50. The boxes of a detector, named
# by the CLIP alone.
# Another CLIP: --cfg-options clip=NAME.
_base_ = [
    '../_base_/evaluation/proposals.py',
    '../_base_/datasets/coco_ov.py',
]
test_dataloader = _base_.proposals_loader
