# RegionCLIP, ViT-B/16, COCO 2017, 8 GPUs x 32 images, 10 epochs.
# Schedule and images are FineCLIP's, to be comparable. RegionCLIP's own are
# for a ResNet-50 and web images of 800 px: SGD 0.002, 96 images, 600000 steps.
_base_ = [
    '../_base_/methods/regionclip.py',
    '../_base_/datasets/coco_region_text.py',
    '../_base_/schedules/adamw_10e.py',
    '../_base_/default_runtime.py',
]
