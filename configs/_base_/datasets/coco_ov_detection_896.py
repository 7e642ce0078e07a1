_base_ = './coco_ov_detection.py'
# 64 x 64 patches of 14 px.
image_size = (896, 896)  # (width, height) in px

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(_base_.train_pipeline[2], scale=image_size),
    dict(_base_.train_pipeline[3], crop_size=image_size[::-1]),
    *_base_.train_pipeline[4:],
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(_base_.test_pipeline[1], scale=image_size),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
