# Open-vocabulary detection on shapes with a frozen tiny CLIP, for a CPU.
# CLIP_CHECKPOINT names it; detect.py does all.
_base_ = [
    '../../../configs/_base_/models/ov_fvit_tiny.py',
    './_base_/ov_detection.py',
    '../../../configs/_base_/schedules/fvit_tiny.py',
    '../../../configs/_base_/detection_runtime.py',
]
model = dict(
    roi_head=dict(
        # chosen on val, see detection.md; 18 is the CLIPs' own factor
        alpha=0.1,
        beta=0.3,
        region_scale=18.0,
        bbox_head=dict(templates=['a {}']),
    ),
)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(by_epoch=False, interval=_base_.max_iters),
)
log_processor = dict(by_epoch=False)
