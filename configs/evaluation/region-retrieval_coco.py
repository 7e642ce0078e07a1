# Retrieval of regions by phrase: each of COCO's 80 class names ranks all boxes
# of val2017, of all images, by the cosine; region_retrieval/mAP over the
# phrases and region_retrieval/r1, whether the best box is one of the class.
# Boxes, images and features as in box-cls_fgclip_coco.py; a phrase is
# "a photo of a {}.". COCO names every object of these classes, so what is
# wrong is wrong. A protocol of our own.
# Another CLIP: --cfg-options clip=NAME.
_base_ = './box-cls_fgclip_coco.py'
model = dict(
    predictors=dict(
        boxes=dict(
            type='RegionRetrievalPredictor',
            classifier=dict(templates='simple'),
        )
    )
)
test_evaluator = [dict(type='RegionRetrievalMetric')]
benchmark = dict(
    task='regions by class name, COCO',
    quick=False,
    figures={
        '_delete_': True,
        'mAP': 'region_retrieval/mAP',
        'R@1': 'region_retrieval/r1',
    },
)
