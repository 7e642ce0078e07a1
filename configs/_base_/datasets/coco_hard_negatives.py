# COCO 2017 as of coco_region_text.py, with texts that are almost a phrase.
# Regions whose lines bring `negatives` (FineHARD, by to_odvg.py) keep
# them; others have a word exchanged for one of its kind.
_base_ = './coco_region_text.py'
words = [
    ['black', 'white', 'gray', 'brown', 'red', 'orange', 'yellow', 'green',
     'blue', 'purple', 'pink'],
    ['small', 'large', 'tiny', 'huge'],
    ['old', 'new', 'young'],
    ['wooden', 'metal', 'plastic', 'glass', 'stone'],
    ['man', 'woman', 'boy', 'girl'],
    ['bird', 'cat', 'dog', 'horse', 'sheep', 'cow', 'elephant', 'bear',
     'zebra', 'giraffe'],
    ['bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck',
     'boat'],
    ['banana', 'apple', 'sandwich', 'broccoli', 'carrot', 'pizza', 'donut',
     'cake'],
    ['chair', 'couch', 'bed', 'table', 'toilet'],
    ['bottle', 'cup', 'fork', 'knife', 'spoon', 'bowl'],
]  # fmt: skip
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:-2],
            dict(type='ExchangeWords', words=words),
            dict(type='TokenizeRegionText', clip=None, negatives=10),
            _base_.train_pipeline[-1],
        ]
    )
)
