# default_runtime.py, and `--resume` goes on at the very batch, bit by bit: see
# docs/training.md. Bases may not set the same key, so the config, or its data
# and schedule, say the other two lines:
#     train_cfg = dict(type='ResumableEpochTrainLoop', ...)
#     train_dataloader = dict(sampler=dict(type='ResumableSampler', ...), ...)
_base_ = './default_runtime.py'
default_hooks = dict(exact_resume=dict(type='ExactResumeHook'))
