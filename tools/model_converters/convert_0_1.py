#!/usr/bin/env python
"""Convert a checkpoint of harmoclip_mm 0.1, and prove that it says the same.

    python tools/model_converters/convert_0_1.py OLD.pth NEW.pth

Version 0.1 had towers of its own, whose weights had other names. Weights of
towers, heads and teacher are kept; what an optimizer knew is dropped, since
its order of weights is another: a training cannot be resumed across versions,
but it can start from the new file by load_from. At the end, image and text
embeddings of the new towers are compared with those of the old weights, which
are computed here by plain functions.
"""

import argparse

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from reading_options import refuse_existing

# open_clip's names and those of version 0.1, as in the tables of key_tables.
TEXT = """
text.                              text_encoder.
  token_embedding.weight           token_embedding.weight
  positional_embedding             pos_embed
  ln_final.*                       ln_final.*
  text_projection                  proj.weight  transposed
text.transformer.resblocks.#.      text_encoder.layers.#.
  ln_1.*                           ln1.*
  attn.in_proj_*                   qkv.*
  attn.out_proj.*                  proj.*
  ln_2.*                           ln2.*
  mlp.c_fc.*                       fc1.*
  mlp.c_proj.*                     fc2.*
.                                  .
  logit_scale                      logit_scale.log_scale
"""
VIT = """
visual.                            backbone.
  class_embedding                  cls_token  flat
  positional_embedding             pos_embed  flat
  conv1.weight                     patch_embed.projection.weight
  ln_pre.*                         pre_norm.*
  ln_post.*                        ln1.*
  proj                             proj.weight  transposed
visual.transformer.resblocks.#.    backbone.layers.#.
  ln_1.*                           ln1.*
  attn.in_proj_*                   attn.qkv.*
  attn.out_proj.*                  attn.proj.*
  ln_2.*                           ln2.*
  mlp.c_fc.*                       ffn.layers.0.0.*
  mlp.c_proj.*                     ffn.layers.1.*
"""
EVA = """
visual.trunk.                      backbone.
  cls_token                        cls_token
  pos_embed                        pos_embed
  patch_embed.proj.*               patch_embed.projection.*
  norm.*                           ln1.*
  head.*                           proj.*
visual.trunk.blocks.#.             backbone.layers.#.
  norm1.*                          ln1.*
  attn.q_proj.*                    q_proj.*
  attn.k_proj.*                    k_proj.*
  attn.v_proj.*                    v_proj.*
  attn.norm.*                      attn_norm.*
  attn.proj.*                      proj.*
  norm2.*                          ln2.*
  mlp.{fc1_g,fc1_x}.*              ffn.w12.*
  mlp.norm.*                       ffn.norm.*
  mlp.fc2.*                        ffn.w3.*
"""
# Arguments of the towers that mean the same in both versions.
KEPT = {
    'backbone': (
        'dense_mode',
        'out_indices',
        'window_size',
        'global_indices',
        'frozen_stages',
        'with_cp',
    ),
    'text_encoder': ('frozen', 'with_cp'),
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('old', help='checkpoint of version 0.1')
    parser.add_argument('new', help='file to write (.pth)')
    parser.add_argument(
        '--clip',
        help='the CLIP, e.g. ViT-B-16-quickgelu (default: as the config in '
        'the checkpoint says; detectors need it, whose text tower is not '
        'there)',
    )
    return parser.parse_args()


def main() -> None:
    """Convert, prove and write."""
    args = parse_args()
    refuse_existing(args.new)
    import torch
    from old_clip import OldCLIP, name_clip, prove

    from harmoclip_mm.models.checkpoints import (
        Checkpoint,
        load_clip_weights,
        load_weights_only,
    )
    from harmoclip_mm.models.checkpoints.checkpoint import own_config
    from harmoclip_mm.models.checkpoints.key_tables import OWN, rename
    from harmoclip_mm.models.towers import clip_spec
    from harmoclip_mm.registry import MODELS
    from harmoclip_mm.version import __version__

    checkpoint = load_weights_only(args.old)
    if not isinstance(checkpoint, dict):
        raise UsageError(f'{args.old} holds no state dict')
    weights = checkpoint.get('state_dict', checkpoint)
    if 'backbone.proj.weight' not in weights:
        raise UsageError(f'{args.old} holds no towers of version 0.1')
    _, towers = own_config(checkpoint)
    old = OldCLIP(weights, towers)
    table = (EVA if old.is_eva else VIT) + TEXT
    renamed, rest = rename(weights, table)
    found = Checkpoint(args.old, renamed, format='open_clip')
    clip = args.clip or name_clip(old, found.shapes)
    settings = {
        tower: {
            key: value
            for key, value in (towers.get(tower) or {}).items()
            if key in kept
        }
        for tower, kept in KEPT.items()
    }
    if clip_spec(clip).img_size != tuple(old.img_size):
        settings['backbone']['img_size'] = old.img_size
    cfg = dict(type='harmoclip_mm.HarmoCLIP', clip=clip, **settings)
    model = MODELS.build(
        dict(
            cfg,
            region_extractor=dict(type='harmoclip_mm.RoIFeatureExtractor'),
        )
    ).eval()
    if old.has_text:
        load_clip_weights(model, found)
    else:
        load_clip_weights(model.backbone, found, 'backbone.')
    proof = prove(old, model)
    # a teacher has the names of a vision tower below its own
    start = 'teacher.'
    teacher = {
        k[len(start) :]: v for k, v in rest.items() if k.startswith(start)
    }
    teacher, more = rename(teacher, table)
    teacher = {**rename(teacher, OWN, back=True)[0], **more}
    meta = dict(checkpoint.get('meta') or {}, harmoclip_mm_version=__version__)
    meta['cfg'] = f'model = {cfg!r}\n'
    torch.save(
        dict(
            meta=meta,
            state_dict={
                **found.own_weights,
                **{k: v for k, v in rest.items() if not k.startswith(start)},
                **{start + k: v for k, v in teacher.items()},
            },
        ),
        args.new,
    )
    dropped = sorted({*checkpoint} & {'optimizer', 'param_schedulers'})
    if dropped:
        print(f'Left out, as it fits the old weights: {", ".join(dropped)}.')
    for what, error in proof.items():
        print(f'{what} embeddings, old and new: equal to {error:.1e}')
    print(f'Wrote {args.new}: clip = {clip!r}')


if __name__ == '__main__':
    run_command(main)
