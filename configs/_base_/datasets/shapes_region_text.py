# Shapes, drawn by tools/dataset_converters/shapes.py: 80 categories, of which
# 12 (novel) never occur in training.
data_root = '{{$SHAPES_ROOT:data/shapes/}}'
classes_file = 'shapes80'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='TokenizeRegionText'),
    dict(type='PackRegionTextInputs'),
]
