# Protocol `clipself` with the dense map pooled under the masks of the segments
# in place of their boxes; all else as in box-cls_clipself_coco-panoptic.py.
_base_ = './box-cls_clipself_coco-panoptic.py'
model = dict(region_extractor=dict(type='MaskFeatureExtractor'))
benchmark = dict(task='masks, protocol clipself, COCO panoptic')
