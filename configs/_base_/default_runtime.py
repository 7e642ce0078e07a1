default_scope = 'harmoclip_mm'
custom_imports = dict(imports=['harmoclip_mm'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    invalid_loss=dict(type='InvalidLossHook'),
)
visualizer = dict(
    type='RegionTextVisualizer', vis_backends=[dict(type='LocalVisBackend')]
)
custom_hooks = [dict(type='DataHealthHook')]

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
randomness = dict(seed=0)
log_processor = dict(
    type='LogProcessor',
    window_size=50,
    by_epoch=True,
    # share: of the data sets of a mixture
    mean_pattern=r'.*(loss|share|time|data_time|grad_norm).*',
)
log_level = 'INFO'
load_from = None
resume = False
