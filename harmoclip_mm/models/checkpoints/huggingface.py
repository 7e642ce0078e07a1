"""The configs of transformers' ``CLIPModel`` and ``SiglipModel``."""

import logging
import os.path as osp
import re
from typing import Any, Dict, Mapping, Optional

import open_clip
from mmengine.logging import print_log
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn

from harmoclip_mm.errors import CheckpointError

from .addresses import read_json
from .fitting import Shapes, differences, fitting_clips, meta_clip, traits

_ACTIVATIONS = {
    'quick_gelu': 'quick_gelu',
    'gelu': 'gelu',
    'gelu_pytorch_tanh': 'gelu_tanh',
}
_INTERPOLATIONS = {2: 'bilinear', 3: 'bicubic'}  # as PIL numbers them
# What either model fixes and open_clip's towers have as an option.
_FIXED: Dict[str, Dict[str, Dict]] = dict(
    CLIP=dict(
        visual=dict(pool='tok', norm_after_pool=False),
        text=dict(pool='argmax', causal=True),
    ),
    Siglip=dict(visual={}, text=dict(pool='last', causal=False)),
)


def read_config(folder: str, shapes: Shapes) -> Dict[str, Any]:
    """Reads which CLIP a folder holds whose weights have these shapes.

    Returns ``clip`` in open_clip's schema, or None for a SigLIP like none of
    open_clip's, and ``facts`` of its towers; a CheckpointError says why
    open_clip has no such model.
    """
    path = osp.join(folder, 'config.json')
    given = read_json(path)
    kind = {'clip': 'CLIP', 'siglip': 'Siglip'}.get(given.get('model_type'))
    try:
        import transformers

        config = getattr(transformers, f'{kind}Config').from_dict(given)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(
            f"{path} needs transformers < 5, and model_type 'clip' or "
            f"'siglip', not {given.get('model_type')!r}: {error}"
        ) from error
    parts = dict(visual=config.vision_config, text=config.text_config)
    strange = [
        f'{key}={value!r}'
        for part in (config, *parts.values())
        for key, value in part.to_dict().items()
        if value and key not in type(part)().to_dict()
    ]
    for key, known in (('vocab_size', [49408]), ('eos_token_id', [2, 49407])):
        value = getattr(parts['text'], key)
        if kind == 'CLIP' and value not in known:
            strange.append(f'{key}={value}')
    facts = {}
    for name, part in parts.items():
        act = _ACTIVATIONS.get(part.hidden_act)
        if act is None:
            strange.append(f'hidden_act={part.hidden_act!r}')
        facts[name] = dict(
            _FIXED[kind][name],
            heads=[part.num_attention_heads],
            eps=[part.layer_norm_eps],
            activation=[act],
        )
    if kind == 'CLIP' and not strange:
        clip = _clip_of(config)
        towers = dict(meta_clip(clip, path).named_children())
        strange = differences({}, facts, {}, towers)
    if strange:
        raise CheckpointError(
            f'{path} says {", ".join(strange)}: open_clip has no place for '
            'that, and its CLIP would compute something else.'
        )
    if kind == 'Siglip':
        # GELU and its approximation are near: 5e-4 at most.
        acts = {name: part.pop('activation') for name, part in facts.items()}
        clip = _siglip_of(config, folder, shapes, facts, acts)
    if clip is not None:
        clip['preprocess_cfg'] = _read_preprocessor(folder, kind)
    return dict(clip=clip, facts=facts)


def _clip_of(config: Any) -> Dict[str, Any]:
    def tower(part: Any) -> Dict[str, Any]:
        ratio = part.intermediate_size / part.hidden_size
        exact = int(part.hidden_size * ratio) == part.intermediate_size
        return dict(
            width=part.hidden_size,
            layers=part.num_hidden_layers,
            mlp_ratio=ratio if exact else ratio + 1e-9,
            norm_kwargs=dict(eps=part.layer_norm_eps),
            act_kwargs=_act_kwargs(part.hidden_act),
        )

    vision, text = config.vision_config, config.text_config
    return dict(
        embed_dim=config.projection_dim,
        quick_gelu=text.hidden_act == 'quick_gelu',
        vision_cfg=dict(
            tower(vision),
            image_size=vision.image_size,
            patch_size=vision.patch_size,
            head_width=vision.hidden_size // vision.num_attention_heads,
        ),
        text_cfg=dict(
            tower(text),
            context_length=text.max_position_embeddings,
            vocab_size=text.vocab_size,
            heads=text.num_attention_heads,
        ),
    )


def _act_kwargs(act: str) -> Dict[str, str]:
    return dict(approximate='tanh') if act == 'gelu_pytorch_tanh' else {}


def _siglip_of(
    config: Any, folder: str, shapes: Shapes, facts: Dict, acts: Dict
) -> Optional[Dict[str, Any]]:
    """The SigLIP of open_clip with the same sizes and image."""
    names, _ = fitting_clips(shapes, facts)
    clips = map(open_clip.get_model_config, names)
    size = config.vision_config.image_size
    clips = [c for c in clips if c['vision_cfg']['image_size'] == size]
    if len(clips) != 1:
        return None
    clip = clips[0]
    clip['text_cfg']['act_kwargs'] = _act_kwargs(config.text_config.hidden_act)
    # A slow tokenizer would not know which characters its tokens are of.
    tokenizer = osp.join(folder, 'tokenizer_config.json')
    if osp.isfile(osp.join(folder, 'tokenizer.json')) and (
        read_json(tokenizer).get('tokenizer_class') != 'SiglipTokenizer'
    ):
        clip['text_cfg']['hf_tokenizer_name'] = folder
    own = traits(meta_clip(clip).visual)['activation']
    if own != acts['visual']:
        print_log(
            f'{folder}: the vision tower was trained with {acts["visual"]}; '
            f"open_clip's has {own}, which is near it but not equal.",
            logger='current',
            level=logging.WARNING,
        )
    return clip


def _read_preprocessor(folder: str, kind: str) -> Dict[str, Any]:
    path = osp.join(folder, 'preprocessor_config.json')
    given = read_json(path) if osp.isfile(path) else {}
    crops = given.get('do_center_crop', kind == 'CLIP')
    half = None if kind == 'CLIP' else [0.5] * 3
    read = dict(
        mean=given.get('image_mean', half),
        std=given.get('image_std', half),
        interpolation=_INTERPOLATIONS.get(given.get('resample')),
        resize_mode='shortest' if crops else 'squash',
    )
    return {key: value for key, value in read.items() if value is not None}


def write_files(
    kind: str, weights: Mapping[str, Tensor], model: nn.Module
) -> Dict[str, Any]:
    """Writes what transformers wants beside the weights of a ``HarmoCLIP``.

    The weights have its names. Returns text, or content of JSON, by name of
    file; a CheckpointError says why its model would compute something else.
    """
    spec, (side, width) = model.spec, model.backbone.img_size
    towers = dict(visual=model.backbone.visual, text=model.text_encoder.text)
    complaints = differences({}, _FIXED[kind], {}, towers)
    if side != width:
        complaints.append(f'images have {side} x {width} pixels')
    if spec.resize_mode == 'longest':
        complaints.append("resize_mode is 'longest'")
    own_tokens = bool(spec.model_cfg['text_cfg'].get('hf_tokenizer_name'))
    if kind == 'CLIP' and own_tokens:
        complaints.append('it has a tokenizer of its own')
    if complaints:
        raise CheckpointError(
            f'the format huggingface has no place for {spec.name}: '
            f"{complaints[0]}; export to 'open_clip'."
        )
    config = dict(
        architectures=[f'{kind}Model'],
        model_type=kind.lower(),
        torch_dtype='float32',
        **{
            f'{part}_config': _tower_config(kind, part, weights, tower)
            for part, tower in zip(('vision', 'text'), towers.values())
        },
    )
    config['vision_config']['image_size'] = side
    crops, square = spec.resize_mode != 'squash', dict(height=side, width=side)
    resample = {name: code for code, name in _INTERPOLATIONS.items()}
    preprocessor = dict(
        image_processor_type=f'{"CLIP" if crops else kind}ImageProcessor',
        do_resize=True,
        size=dict(shortest_edge=side) if crops else square,
        resample=resample.get(spec.interpolation, 3),
        do_center_crop=crops,
        crop_size=square,
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=list(spec.mean),
        image_std=list(spec.std),
        do_convert_rgb=True,
    )
    files = {'config.json': config, 'preprocessor_config.json': preprocessor}
    if kind == 'CLIP':
        config['projection_dim'] = len(weights['text_projection.weight'])
        end = config['text_config']['vocab_size'] - 1
        config['text_config'].update(bos_token_id=end - 1, eos_token_id=end)
        files.update(_bpe_files(spec.context_length))
    return files


def _tower_config(
    kind: str, part: str, weights: Mapping[str, Tensor], tower: nn.Module
) -> Dict[str, Any]:
    start, own = f'{part}_model.', traits(tower)
    hidden, width = weights[f'{start}encoder.layers.0.mlp.fc1.weight'].shape
    norms = re.compile(rf'{start}encoder\.layers\.\d+\.layer_norm1\.bias')
    names = {act: name for name, act in _ACTIVATIONS.items()}
    config = dict(
        model_type=f'{kind.lower()}_{part}_model',
        hidden_act=names[own['activation'][0]],
        hidden_size=width,
        intermediate_size=hidden,
        layer_norm_eps=own['eps'][0],
        num_attention_heads=own['heads'][0],
        num_hidden_layers=len(list(filter(norms.fullmatch, weights))),
    )
    if part == 'vision':
        patches = weights[f'{start}embeddings.patch_embedding.weight']
        return dict(config, patch_size=patches.shape[-1])
    positions = weights[f'{start}embeddings.position_embedding.weight']
    return dict(
        config,
        vocab_size=len(weights[f'{start}embeddings.token_embedding.weight']),
        max_position_embeddings=len(positions),
    )


def _bpe_files(context_length: int) -> Dict[str, Any]:
    """CLIP's vocabulary, with special tokens named as in transformers."""
    start, end = '<|startoftext|>', '<|endoftext|>'
    bpe = SimpleTokenizer()
    vocab = {**bpe.encoder, start: bpe.sot_token_id, end: bpe.eot_token_id}
    del vocab['<start_of_text>'], vocab['<end_of_text>']
    special = dict(
        bos_token=start, eos_token=end, unk_token=end, pad_token=end
    )
    return {
        'vocab.json': vocab,
        'merges.txt': '\n'.join(
            ['#version: 0.2', *map(' '.join, bpe.bpe_ranks), '']
        ),
        'tokenizer_config.json': dict(
            special,
            tokenizer_class='CLIPTokenizer',
            do_lower_case=True,
            errors='replace',
            model_max_length=context_length,
        ),
    }
