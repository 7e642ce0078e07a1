# Detectors are mmdet's, so names without a prefix are looked up there: the
# configs work in mmdet's own tools and in DetInferencer.
default_scope = 'mmdet'
custom_imports = dict(imports=['harmoclip_mm'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='harmoclip_mm.AtomicCheckpointHook', interval=1, max_keep_ckpts=3
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    invalid_loss=dict(type='harmoclip_mm.InvalidLossHook'),
    visualization=dict(type='DetVisualizationHook', score_thr=0.3),
)
# Named by the Runner after its run: of two runs in one process that share a
# name the second would draw into the folder of the first.
visualizer = dict(
    type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
randomness = dict(seed=0)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
