"""Names of transformers' ``CLIPModel`` (``modeling_clip.py``)."""

from .entries import (
    CLS_TOKEN,
    POSITIONS,
    SAME,
    SCALAR,
    STACKED3,
    Entry,
    pair,
    prefixed,
)

_QKV = ('self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj')


def _block(ours_attn: str, fc1: str, fc2: str) -> list:
    return [
        *pair('ln1', 'layer_norm1'),
        *pair(f'{ours_attn}qkv', *_QKV, rule=STACKED3),
        *pair(f'{ours_attn}proj', 'self_attn.out_proj'),
        *pair('ln2', 'layer_norm2'),
        *pair(fc1, 'mlp.fc1'),
        *pair(fc2, 'mlp.fc2'),
    ]


_VISION = [
    Entry('cls_token', ('embeddings.class_embedding',), CLS_TOKEN),
    Entry('pos_embed', ('embeddings.position_embedding.weight',), POSITIONS),
    Entry(
        'patch_embed.projection.weight',
        ('embeddings.patch_embedding.weight',),
        SAME,
    ),
    *pair('pre_norm', 'pre_layrnorm'),  # theirs is spelt so
    *prefixed(
        _block('attn.', 'ffn.layers.0.0', 'ffn.layers.1'),
        'layers.{i}.',
        'encoder.layers.{i}.',
    ),
    *pair('ln1', 'post_layernorm'),
]
_TEXT = [
    Entry(
        'token_embedding.weight', ('embeddings.token_embedding.weight',), SAME
    ),
    Entry('pos_embed', ('embeddings.position_embedding.weight',), SAME),
    *prefixed(_block('', 'fc1', 'fc2'), 'layers.{i}.', 'encoder.layers.{i}.'),
    *pair('ln_final', 'final_layer_norm'),
]

ENTRIES = [
    *prefixed(_VISION, 'backbone.', 'vision_model.'),
    Entry('backbone.proj.weight', ('visual_projection.weight',), SAME),
    *prefixed(_TEXT, 'text_encoder.', 'text_model.'),
    Entry('text_encoder.proj.weight', ('text_projection.weight',), SAME),
    Entry('logit_scale.log_scale', ('logit_scale',), SCALAR),
]
