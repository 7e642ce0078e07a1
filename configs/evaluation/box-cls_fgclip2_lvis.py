# Protocol `fgclip2`: as box-cls_lvis.py, the filled templates
# lower-cased, as FG-CLIP 2 evaluates. CLIP's byte pairs ignore case, so it
# matters only for a tokenizer that does not.
_base_ = './box-cls_lvis.py'
model = dict(predictors=dict(boxes=dict(classifier=dict(lower=True))))
benchmark = dict(task='boxes, protocol fgclip2, LVIS')
