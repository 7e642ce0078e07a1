_base_ = './coco_region_text.py'
# A variable of a base is read when the base is, so a new image_size alone
# would change no pipeline: the transforms that have a size are rewritten.
image_size = (336, 336)  # (width, height) in pixels, squashed

train_pipeline = [
    dict(step, scale=image_size) if step['type'] == 'mmdet.Resize' else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scale=image_size) if step['type'] == 'mmdet.Resize' else step
    for step in _base_.test_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
