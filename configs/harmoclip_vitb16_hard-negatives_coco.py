# HarmoCLIP and hard negatives by exchanged words, ViT-B/16 of OpenAI, COCO
# 2017, 8 GPUs x 32 images, 10 epochs. More boxes than without on drawn
# shapes, for a vocabulary of words to exchange: docs/method.md.
_base_ = [
    './_base_/methods/harmoclip_hard.py',
    './_base_/datasets/coco_hard_negatives.py',
    './_base_/schedules/adamw_10e.py',
    './_base_/default_runtime.py',
]
clip = 'ViT-B-16-quickgelu'
