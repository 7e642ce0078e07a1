# HarmoCLIP, ViT-L/14, COCO 2017, sharded, bf16, 8 GPUs x 10 images, 10 epochs.
_base_ = ['./harmoclip_vitl14_coco.py', './_base_/strategies/fsdp.py']
optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16')
