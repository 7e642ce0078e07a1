"""Names of openai/CLIP, which open_clip keeps (``clip/model.py``)."""

from .entries import (
    CLS_TOKEN,
    POSITIONS,
    SAME,
    SCALAR,
    TRANSPOSED,
    Entry,
    pair,
    prefixed,
)


def _block(ours_attn: str, ours_mlp: tuple) -> list:
    """A residual block; our two towers name its parts differently."""
    return [
        *pair('ln1', 'ln_1'),
        Entry(f'{ours_attn}qkv.weight', ('attn.in_proj_weight',), SAME),
        Entry(f'{ours_attn}qkv.bias', ('attn.in_proj_bias',), SAME),
        *pair(f'{ours_attn}proj', 'attn.out_proj'),
        *pair('ln2', 'ln_2'),
        *pair(ours_mlp[0], 'mlp.c_fc'),
        *pair(ours_mlp[1], 'mlp.c_proj'),
    ]


OUR_VISION_BLOCK = ('attn.', ('ffn.layers.0.0', 'ffn.layers.1'))
OUR_TEXT_BLOCK = ('', ('fc1', 'fc2'))

VISION = prefixed(
    [
        Entry('cls_token', ('class_embedding',), CLS_TOKEN),
        Entry('pos_embed', ('positional_embedding',), POSITIONS),
        Entry('patch_embed.projection.weight', ('conv1.weight',), SAME),
        *pair('pre_norm', 'ln_pre'),
        *prefixed(
            _block(*OUR_VISION_BLOCK),
            'layers.{i}.',
            'transformer.resblocks.{i}.',
        ),
        *pair('ln1', 'ln_post'),
        Entry('proj.weight', ('proj',), TRANSPOSED),
    ],
    'backbone.',
    'visual.',
)

TEXT = prefixed(
    [
        Entry('token_embedding.weight', ('token_embedding.weight',), SAME),
        Entry('pos_embed', ('positional_embedding',), SAME),
        *prefixed(
            _block(*OUR_TEXT_BLOCK),
            'layers.{i}.',
            'transformer.resblocks.{i}.',
        ),
        *pair('ln_final', 'ln_final'),
        Entry('proj.weight', ('text_projection',), TRANSPOSED),
    ],
    'text_encoder.',
)

LOGIT_SCALE = [Entry('logit_scale.log_scale', ('logit_scale',), SCALAR)]

# open_clip's CLIP, and its CustomTextCLIP with the text tower in `text.`
ENTRIES = [*VISION, *TEXT, *LOGIT_SCALE]
CUSTOM_TEXT = [*VISION, *prefixed(TEXT, theirs='text.'), *LOGIT_SCALE]
