"""The configs that open_clip and transformers want beside the weights."""

from typing import Dict, Mapping, Optional, Tuple

from torch import nn

from harmoclip_mm.errors import CheckpointError

from .activation import ACT_CFGS, GELU, QUICK_GELU, activation_of
from .architecture import CLIP_MEAN, CLIP_STD

# timm's towers of EVA-02-CLIP by width, blocks, heads, MLP, patch and image;
# open_clip builds them at no other image size
_TIMM_NAMES = {
    (768, 12, 12, 2048, 16, 224): 'eva02_base_patch16_clip_224',
    (1024, 24, 16, 2730, 14, 224): 'eva02_large_patch14_clip_224',
    (1024, 24, 16, 2730, 14, 336): 'eva02_large_patch14_clip_336',
}


def describe_model(model: nn.Module) -> Dict:
    """Writes the config that a ``HarmoCLIP`` could be built from.

    Args:
        model (nn.Module): The model.

    Returns:
        dict: ``backbone`` and ``text_encoder`` as
        :func:`infer_model_cfg` writes them, without heads.
    """
    vision, text = model.backbone, model.text_encoder
    height, width = (
        side * vision.patch_size for side in vision.patch_resolution
    )
    keys = ('embed_dims', 'num_layers', 'num_heads', 'feedforward_channels')
    backbone = dict(
        type=type(vision).__name__,
        arch={key: int(vision.arch_settings[key]) for key in keys},
        img_size=height if height == width else [height, width],
        patch_size=vision.patch_size,
        out_dims=vision.out_dims,
        dense_mode=vision.dense_mode,
    )
    if not backbone['type'].endswith('EVA02'):
        backbone['act_cfg'] = dict(ACT_CFGS[activation_of(vision)])
    first = text.layers[0]
    return dict(
        type='HarmoCLIP',
        backbone=backbone,
        text_encoder=dict(
            type=type(text).__name__,
            embed_dims=text.embed_dims,
            num_layers=len(text.layers),
            num_heads=first.num_heads,
            feedforward_channels=first.fc1.out_features,
            out_dims=text.out_dims,
            vocab_size=text.token_embedding.num_embeddings,
            context_length=text.context_length,
            act_cfg=dict(ACT_CFGS[activation_of(text)]),
        ),
    )


def colour_statistics(
    model: nn.Module,
) -> Tuple[Tuple[float, ...], Tuple[float, ...]]:
    """Mean and standard deviation of the colours, of values in [0, 1].

    Args:
        model (nn.Module): The model.

    Returns:
        Tuple[Tuple[float, ...], Tuple[float, ...]]: Those of its
        preprocessor in RGB; CLIP's own if it has none.
    """
    preprocessor = getattr(model, 'data_preprocessor', None)
    if getattr(preprocessor, 'mean', None) is None:
        return CLIP_MEAN, CLIP_STD
    # float32 keeps seven digits; what is written has as many
    return tuple(
        tuple(round(v / 255, 7) for v in values.flatten().tolist())
        for values in (preprocessor.mean, preprocessor.std)
    )


def _activations(cfg: Mapping) -> Tuple[Optional[str], str]:
    acts = []
    for tower in ('backbone', 'text_encoder'):
        act = cfg[tower].get('act_cfg')
        names = [name for name in ACT_CFGS if ACT_CFGS[name] == act]
        acts.append(names[0] if names else None)
    return tuple(acts)


def open_clip_config(model: nn.Module) -> Dict:
    """Writes ``open_clip_config.json``.

    Args:
        model (nn.Module): The model.

    Returns:
        dict: ``model_cfg`` and ``preprocess_cfg``.

    Raises:
        CheckpointError: If open_clip has no such model.
    """
    cfg = describe_model(model)
    vision, text = cfg['backbone'], cfg['text_encoder']
    arch = vision['arch']
    vision_act, text_act = _activations(cfg)
    text_cfg = dict(
        context_length=text['context_length'],
        vocab_size=text['vocab_size'],
        width=text['embed_dims'],
        heads=text['num_heads'],
        layers=text['num_layers'],
    )
    _set_ratio(text_cfg, text['embed_dims'], text['feedforward_channels'])
    model_cfg = dict(embed_dim=vision['out_dims'], text_cfg=text_cfg)
    if vision['type'].endswith('EVA02'):
        model_cfg.update(
            vision_cfg=dict(
                image_size=vision['img_size'],
                timm_model_name=_timm_name(vision),
                timm_model_pretrained=False,
                timm_pool='token',
                timm_proj=None,
            ),
            custom_text=True,
        )
    else:
        if vision_act != text_act:
            raise CheckpointError(
                'open_clip has one activation for both towers, but the '
                f'backbone has {vision_act} and the text_encoder {text_act}.'
            )
        head_width, rest = divmod(arch['embed_dims'], arch['num_heads'])
        if rest or text['embed_dims'] % text['num_heads']:
            raise CheckpointError('the width is no multiple of the heads.')
        vision_cfg = dict(
            image_size=vision['img_size'],
            layers=arch['num_layers'],
            width=arch['embed_dims'],
            head_width=head_width,
            patch_size=vision['patch_size'],
        )
        _set_ratio(
            vision_cfg, arch['embed_dims'], arch['feedforward_channels']
        )
        model_cfg['vision_cfg'] = vision_cfg
    if text_act == QUICK_GELU:
        model_cfg['quick_gelu'] = True
    mean, std = colour_statistics(model)
    return dict(
        model_cfg=model_cfg,
        preprocess_cfg=dict(
            size=vision['img_size'],
            mode='RGB',
            mean=mean,
            std=std,
            interpolation='bicubic',
            resize_mode='shortest',
        ),
    )


def _set_ratio(tower: Dict, width: int, hidden: int) -> None:
    """open_clip says the width of the MLP as a multiple of the tower's."""
    ratio = hidden / width
    if int(width * ratio) != hidden:
        ratio += 1e-9
    tower['mlp_ratio'] = ratio


def _timm_name(vision: Mapping) -> str:
    arch = vision['arch']
    key = (
        arch['embed_dims'],
        arch['num_layers'],
        arch['num_heads'],
        arch['feedforward_channels'],
        vision['patch_size'],
        vision['img_size'],
    )
    if key not in _TIMM_NAMES:
        raise CheckpointError(
            'open_clip takes EVA-02 from timm, which has B/16 at 224 px and '
            'L/14 at 224 and 336 px only: export to a file (.pt or '
            '.safetensors), which needs no config.'
        )
    return _TIMM_NAMES[key]


def huggingface_config(model: nn.Module) -> Dict:
    """Writes ``config.json`` of a ``CLIPModel``.

    Args:
        model (nn.Module): The model.

    Returns:
        dict: The config.

    Raises:
        CheckpointError: If transformers has no such model.
    """
    cfg = describe_model(model)
    vision, text = cfg['backbone'], cfg['text_encoder']
    if vision['type'].endswith('EVA02'):
        raise CheckpointError(
            "transformers' CLIPModel has no EVA-02 tower: export to "
            "'open_clip'."
        )
    if not isinstance(vision['img_size'], int):
        raise CheckpointError(
            "transformers' CLIPModel has square images only, but the "
            f'position embeddings are for {vision["img_size"]}.'
        )
    arch, out_dims = vision['arch'], vision['out_dims']
    acts = [act or GELU for act in _activations(cfg)]
    last = text['vocab_size'] - 1
    return dict(
        architectures=['CLIPModel'],
        model_type='clip',
        projection_dim=out_dims,
        torch_dtype='float32',
        vision_config=dict(
            model_type='clip_vision_model',
            hidden_size=arch['embed_dims'],
            intermediate_size=arch['feedforward_channels'],
            num_hidden_layers=arch['num_layers'],
            num_attention_heads=arch['num_heads'],
            image_size=vision['img_size'],
            patch_size=vision['patch_size'],
            num_channels=3,
            hidden_act=acts[0],
            layer_norm_eps=1e-5,
            projection_dim=out_dims,
        ),
        text_config=dict(
            model_type='clip_text_model',
            hidden_size=text['embed_dims'],
            intermediate_size=text['feedforward_channels'],
            num_hidden_layers=text['num_layers'],
            num_attention_heads=text['num_heads'],
            max_position_embeddings=text['context_length'],
            vocab_size=text['vocab_size'],
            hidden_act=acts[1],
            layer_norm_eps=1e-5,
            projection_dim=out_dims,
            bos_token_id=last - 1,
            eos_token_id=last,
            pad_token_id=last,
        ),
    )


def huggingface_preprocessor(model: nn.Module) -> Dict:
    """Writes ``preprocessor_config.json`` of a ``CLIPImageProcessor``.

    Args:
        model (nn.Module): The model.

    Returns:
        dict: The config.
    """
    side = describe_model(model)['backbone']['img_size']
    mean, std = colour_statistics(model)
    return dict(
        image_processor_type='CLIPImageProcessor',
        do_resize=True,
        size=dict(shortest_edge=side),
        resample=3,  # bicubic, as PIL numbers it
        do_center_crop=True,
        crop_size=dict(height=side, width=side),
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=mean,
        image_std=std,
        do_convert_rgb=True,
    )
