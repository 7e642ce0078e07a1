_base_ = ['./clip.py', './tiny_clip.py']
clip = dict(_delete_=True, **_base_.tiny_clip)
model = dict(clip=dict(**clip))
