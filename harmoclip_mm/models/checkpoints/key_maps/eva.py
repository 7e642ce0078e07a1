"""Names of EVA-02-CLIP: in timm (and so in open_clip) and in EVA-CLIP.

EVA-CLIP is the repository of the authors; CLIPSelf and FineCLIP build on it
and save its names.
"""

from .entries import SAME, STACKED2, Entry, pair, prefixed
from .openai import LOGIT_SCALE, TEXT


def _vision(block: list) -> list:
    return [
        Entry('cls_token', ('cls_token',), SAME),
        Entry('pos_embed', ('pos_embed',), SAME),
        *pair('patch_embed.projection', 'patch_embed.proj'),
        *prefixed(
            [
                *pair('ln1', 'norm1'),
                *pair('q_proj', 'attn.q_proj', kinds=['weight']),
                *pair('k_proj', 'attn.k_proj', kinds=['weight']),
                *pair('v_proj', 'attn.v_proj', kinds=['weight']),
                *pair('proj', 'attn.proj'),
                *pair('ln2', 'norm2'),
                *block,
            ],
            'layers.{i}.',
            'blocks.{i}.',
        ),
        *pair('ln1', 'norm'),
        *pair('proj', 'head'),
    ]


_TIMM_BLOCK = [
    *pair('q_proj', 'attn.q_proj', kinds=['bias']),
    *pair('v_proj', 'attn.v_proj', kinds=['bias']),
    *pair('attn_norm', 'attn.norm'),
    *pair('ffn.w12', 'mlp.fc1_g', 'mlp.fc1_x', rule=STACKED2),
    *pair('ffn.norm', 'mlp.norm'),
    *pair('ffn.w3', 'mlp.fc2'),
]
_EVA_BLOCK = [
    Entry('q_proj.bias', ('attn.q_bias',), SAME),
    Entry('v_proj.bias', ('attn.v_bias',), SAME),
    *pair('attn_norm', 'attn.inner_attn_ln'),
    *pair('ffn.w12', 'mlp.w1', 'mlp.w2', rule=STACKED2),
    *pair('ffn.norm', 'mlp.ffn_ln'),
    *pair('ffn.w3', 'mlp.w3'),
]
_TEXT = prefixed(TEXT, theirs='text.')

TIMM_ENTRIES = [
    *prefixed(_vision(_TIMM_BLOCK), 'backbone.', 'visual.trunk.'),
    *_TEXT,
    *LOGIT_SCALE,
]
EVA_ENTRIES = [
    *prefixed(_vision(_EVA_BLOCK), 'backbone.', 'visual.'),
    *_TEXT,
    *LOGIT_SCALE,
]
