# HarmoCLIP on shapes, from a trained CLIP: load_from names it.
_base_ = './harmoclip.py'
model = dict(heads=dict(lrc=dict(loss=dict(loss_weight=0.5))))
