# Protocol `fgclip2`: as box-cls_lvis.py, the filled templates
# lower-cased, as FG-CLIP 2 evaluates. Class names and templates are in lower
# case already, so figures are the same; texts of FG-OVD are not
# (fgovd_fgclip2.py).
_base_ = './box-cls_lvis.py'
model = dict(predictors=dict(boxes=dict(classifier=dict(lower=True))))
benchmark = dict(task='boxes, protocol fgclip2, LVIS')
