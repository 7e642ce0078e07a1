# HarmoCLIP from scratch on shapes, for a CPU.
_base_ = [
    './_base_/tiny.py',
    '../../../configs/_base_/methods/harmoclip_scratch.py',
]
model = dict(heads=_base_.heads)
