# Protocol `fgclip2`: as box-cls_fgclip_coco.py, the filled templates
# lower-cased, as FG-CLIP 2 evaluates. CLIP's byte pairs ignore case, so it
# matters only for a tokenizer that does not.
_base_ = './box-cls_fgclip_coco.py'
model = dict(predictors=dict(boxes=dict(classifier=dict(lower=True))))
benchmark = dict(task='boxes, protocol fgclip2, COCO', quick=False)
