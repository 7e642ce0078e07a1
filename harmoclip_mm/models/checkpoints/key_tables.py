"""Names of CLIP's weights in open_clip and elsewhere.

A line of a table is open_clip's name, theirs and, where they differ, how the
values do; the first line that fits a name holds. Names that end in a dot begin
the names of the lines below. ``#`` is the number of a block and ``*`` any end.
What braces list lies on top of one another in the weight of the other side.
Tables are read in both directions, so these cannot come apart.
"""

import re
from typing import Dict, List, Mapping, Tuple

import torch
from torch import Tensor

# How values differ, from theirs to open_clip's and back.
_RULES = {
    'same': (lambda t: t, lambda t: t),
    'transposed': (lambda t: t.t(), lambda t: t.t()),
    'raised': (lambda t: t[None], lambda t: t[0]),  # (N, C) to (1, N, C)
    'scalar': (lambda t: t.reshape(()), lambda t: t.reshape(1)),
    'flat': (lambda t: t.squeeze(), lambda t: t.reshape(1, -1, t.shape[-1])),
}

_HF_BLOCK = """
  ln_1.*                  layer_norm1.*
  attn.in_proj_*          self_attn.{q,k,v}_proj.*
  attn.out_proj.*         self_attn.out_proj.*
  ln_2.*                  layer_norm2.*
  mlp.c_fc.*              mlp.fc1.*
  mlp.c_proj.*            mlp.fc2.*
"""
_HF_TEXT = f"""
text.                     text_model.
  token_embedding.*       embeddings.token_embedding.*
  positional_embedding    embeddings.position_embedding.weight
  ln_final.*              final_layer_norm.*
text.transformer.resblocks.#.  text_model.encoder.layers.#.
{_HF_BLOCK}"""
# transformers' `CLIPModel` and `SiglipModel`
HUGGINGFACE_CLIP = f"""
{_HF_TEXT}
visual.                   vision_model.
  class_embedding         embeddings.class_embedding
  positional_embedding    embeddings.position_embedding.weight
  conv1.*                 embeddings.patch_embedding.*
  ln_pre.*                pre_layrnorm.*
  ln_post.*               post_layernorm.*
visual.transformer.resblocks.#.  vision_model.encoder.layers.#.
{_HF_BLOCK}
.                         .
  visual.proj             visual_projection.weight  transposed
  text.text_projection    text_projection.weight    transposed
  logit_scale             logit_scale
"""
HUGGINGFACE_SIGLIP = f"""
{_HF_TEXT}
visual.trunk.             vision_model.
  patch_embed.proj.*      embeddings.patch_embedding.*
  pos_embed               embeddings.position_embedding.weight  raised
  norm.*                  post_layernorm.*
visual.trunk.attn_pool.   vision_model.head.
  latent                  probe
  {{q,kv}}.*                attention.in_proj_*
  proj.*                  attention.out_proj.*
  norm.*                  layernorm.*
  mlp.*                   mlp.*
visual.trunk.blocks.#.    vision_model.encoder.layers.#.
  norm1.*                 layer_norm1.*
  attn.qkv.*              self_attn.{{q,k,v}}_proj.*
  attn.proj.*             self_attn.out_proj.*
  norm2.*                 layer_norm2.*
  mlp.*                   mlp.*
.                         .
  text.text_projection.*  text_model.head.*
  logit_scale             logit_scale  scalar
  logit_bias              logit_bias   scalar
"""
# EVA-02-CLIP of its authors, on which CLIPSelf and FineCLIP build, and in timm
EVA_CLIP = """
visual.trunk.blocks.#.    visual.blocks.#.
  attn.q_proj.bias        attn.q_bias
  attn.v_proj.bias        attn.v_bias
  attn.norm.*             attn.inner_attn_ln.*
  mlp.fc1_g.*             mlp.w1.*
  mlp.fc1_x.*             mlp.w2.*
  mlp.norm.*              mlp.ffn_ln.*
  mlp.fc2.*               mlp.w3.*
.                         .
  visual.trunk.*          visual.*
"""
# A CLIP without `custom_text` keeps its text tower at the top.
OPEN_CLIP = """
text.                     .
  token_embedding.*       token_embedding.*
  positional_embedding    positional_embedding
  transformer.*           transformer.*
  ln_final.*              ln_final.*
  text_projection*        text_projection*
"""
_MMPRETRAIN_VIT = """
  class_embedding         cls_token  flat
  positional_embedding    pos_embed  flat
  conv1.*                 patch_embed.projection.*
  ln_pre.*                pre_norm.*
  ln_post.*               ln1.*
"""
_MMPRETRAIN_BLOCK = """
  ln_1.*                  ln1.*
  attn.in_proj_*          attn.qkv.*
  attn.out_proj.*         attn.proj.*
  ln_2.*                  ln2.*
  mlp.c_fc.*              ffn.layers.0.0.*
  mlp.c_proj.*            ffn.layers.1.*
"""
MMPRETRAIN = f"""
{OPEN_CLIP}
visual.                   visual.
{_MMPRETRAIN_VIT}
visual.transformer.resblocks.#.  visual.layers.#.
{_MMPRETRAIN_BLOCK}
.                         .
  visual.proj             visual_proj.proj
"""
# Version 0.1 of ours had towers of its own.
_OLD_TEXT = """
text.                     text_encoder.
  token_embedding.*       token_embedding.*
  positional_embedding    pos_embed
  ln_final.*              ln_final.*
  text_projection         proj.weight  transposed
text.transformer.resblocks.#.  text_encoder.layers.#.
  ln_1.*                  ln1.*
  attn.in_proj_*          qkv.*
  attn.out_proj.*         proj.*
  ln_2.*                  ln2.*
  mlp.c_fc.*              fc1.*
  mlp.c_proj.*            fc2.*
.                         .
  logit_scale             logit_scale.log_scale
"""
OLD_VIT = f"""
{_OLD_TEXT}
visual.                   backbone.
{_MMPRETRAIN_VIT}
  proj                    proj.weight  transposed
visual.transformer.resblocks.#.  backbone.layers.#.
{_MMPRETRAIN_BLOCK}
"""
OLD_EVA = f"""
{_OLD_TEXT}
visual.trunk.             backbone.
  cls_token               cls_token
  pos_embed               pos_embed
  patch_embed.proj.*      patch_embed.projection.*
  norm.*                  ln1.*
  head.*                  proj.*
visual.trunk.blocks.#.    backbone.layers.#.
  norm1.*                 ln1.*
  attn.q_proj.*           q_proj.*
  attn.k_proj.*           k_proj.*
  attn.v_proj.*           v_proj.*
  attn.norm.*             attn_norm.*
  attn.proj.*             proj.*
  norm2.*                 ln2.*
  mlp.{{fc1_g,fc1_x}}.*     ffn.w12.*
  mlp.norm.*              ffn.norm.*
  mlp.fc2.*               ffn.w3.*
"""
# Ours; a second pool (`dense_head`) is no part of open_clip's tower.
OWN = """
visual.dense_pool.*       backbone.dense_pool.*
visual.*                  backbone.visual.*
text.*                    text_encoder.text.*
logit_scale               logit_scale.log_scale
logit_bias                logit_scale.bias
"""
TABLES = dict(
    harmoclip_mm=OWN,
    huggingface_siglip=HUGGINGFACE_SIGLIP,
    huggingface_clip=HUGGINGFACE_CLIP,
    eva_clip=EVA_CLIP,
    mmpretrain=MMPRETRAIN,
    open_clip=OPEN_CLIP,
    harmoclip_mm_0_1_eva=OLD_EVA,
    harmoclip_mm_0_1=OLD_VIT,
)


def rename(
    state_dict: Mapping[str, Tensor], table: str, back: bool = False
) -> Tuple[Dict[str, Tensor], Dict[str, Tensor]]:
    """Takes weights from their names to open_clip's, or ``back``.

    Returns them by their new names, views where possible, and those that the
    table does not know.
    """
    found, rest = {}, dict(state_dict)
    for ours, theirs, rule in rows(table):
        names = (ours, theirs) if back else (theirs, ours)
        sources, targets = map(_listed, names)
        pattern = re.escape(sources[0][0]).replace(r'\#', r'(\d+)')
        pattern = re.compile(pattern.replace(r'\*', '(.*)'))
        for match in filter(None, map(pattern.fullmatch, list(rest))):
            names = [_filled(name, match) for name, _ in sources]
            if not rest.keys() >= {*names}:
                continue  # what is left over will be complained of
            parts = [rest.pop(name) for name in names]
            whole = torch.cat(parts) if len(parts) > 1 else parts[0]
            whole = _RULES[rule][back](whole)
            names = [_filled(name, match) for name, _ in targets]
            if len(names) > 1:
                total = sum(share for _, share in targets)
                whole = whole.split(
                    [len(whole) * share // total for _, share in targets]
                )
            found.update(zip(names, whole if len(names) > 1 else [whole]))
    return found, rest


def rows(table: str) -> List[Tuple[str, str, str]]:
    """Full names on both sides, and the rule, of each line of a table."""
    found, starts = [], ('', '')
    for line in table.splitlines():
        ours, theirs, rule, *_ = [*line.split(), 'same', 'same', 'same']
        if ours.endswith('.'):
            starts = ours.lstrip('.'), theirs.lstrip('.')
        elif line.strip():
            found.append((starts[0] + ours, starts[1] + theirs, rule))
    return found


def _listed(name: str) -> List[Tuple[str, int]]:
    """Names for what braces list, and what each takes of the whole."""
    start, *listed = re.split(r'[{}]', name)
    if not listed:
        return [(name, 1)]
    # `kv` are twice as many rows as `q`
    return [
        (start + each + listed[1], len(each)) for each in listed[0].split(',')
    ]


def _filled(name: str, match: 're.Match') -> str:
    marks = iter(match.groups())
    return re.sub('[#*]', lambda _: next(marks), name)
