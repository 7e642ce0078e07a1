# What mmdet's detectors need to stand on CLIP's ViT-B/16: parts that a config
# of configs/detection/ puts into a config of mmdet, by {{_base_.NAME}}.
custom_imports = dict(imports=['harmoclip_mm'], allow_failed_imports=False)
# The final norm and the projection to the joint space have no part in a plain
# detector; DistributedDataParallel has to expect that.
find_unused_parameters = True
clip = 'ViT-B-16-quickgelu'
coco_root = '{{$COCO_ROOT:data/coco/}}'
coco_loader = dict(dataset=dict(data_root=coco_root))
coco_metric = dict(ann_file=coco_root + '/annotations/instances_val2017.json')

clip_preprocessor = dict(
    type='harmoclip_mm.RegionTextDataPreprocessor',
    clip=clip,
    # in place of ImageNet's, which mmdet's config has
    mean=None,
    std=None,
)
clip_backbone = dict(
    _delete_=True,
    type='harmoclip_mm.HarmoCLIPBackbone',
    clip=clip,
    img_size=1024,
    # ViTDet-B (arXiv 2203.16527): windows as large as the grid of the
    # pre-training, four global blocks; not its drop path of 0.1
    window_size=14,
    with_cp=True,
    # any format of docs/checkpoints.md
    init_cfg=dict(
        type='Pretrained', checkpoint='{{$CLIP_CHECKPOINT:ViT-B-16.pt}}'
    ),
)
# ViTDet-B: AdamW, no decay of norms and positions, layer decay 0.7. Its lr of
# 1e-4 is for 64 images; by the root of the batch for mmdet's 8 x 2. Clipping
# is DINO's; Adam's step hardly depends on the gradient's scale.
vit_optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='harmoclip_mm.BackboneLayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-5, weight_decay=0.1),
    paramwise_cfg=dict(
        layer_decay_rate=0.7,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,  # the class token too
        custom_keys=dict(positional_embedding=dict(decay_mult=0.0)),
    ),
    clip_grad=dict(max_norm=0.1, norm_type=2),
)
