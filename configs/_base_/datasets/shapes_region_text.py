# Shapes: tools/dataset_converters/shapes.py draws it into SHAPES_ROOT.
data_root = '{{$SHAPES_ROOT:data/shapes/}}'
image_size = (80, 80)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='TokenizeRegionText'),
    dict(type='PackRegionTextInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='LoadCaptions', ann_file=data_root + 'annotations/captions_test.json'),
    dict(type='TokenizeRegionText'),
    dict(type='PackRegionTextInputs'),
]
