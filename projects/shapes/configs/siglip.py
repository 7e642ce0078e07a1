# GC and LRC by SigLIP's loss, from scratch on shapes, for a CPU.
_base_ = ['./_base_/tiny.py', '../../../configs/_base_/methods/siglip.py']
model = dict(heads=_base_.heads)
