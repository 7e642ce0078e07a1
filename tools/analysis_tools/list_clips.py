#!/usr/bin/env python3
"""Write docs/clips.md: which CLIPs of open_clip harmoclip_mm can open.

Each is built on the meta device, which takes no memory, and asked for pooled
and dense features; about three minutes for all.
"""

import argparse
import warnings
from pathlib import Path
from typing import List

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from rich.progress import track

HEADER = """# CLIPs that can be opened

{supported} of the {total} models that open_clip {version} lists. Its name is
all that a config says: `clip = 'NAME'`, see [architecture](architecture.md).
`python tools/analysis_tools/list_clips.py` writes this page.

- **Cell**: pixels a side of a location of the dense map.
- **Dense map**: what the default `dense_mode='value'` does. *Value path*: the
  last block without attention, residual and MLP kept (MaskCLIP, CLIPSelf).
  *Pool alone*: the attention pool applied to each location as a sequence of
  one. *Place alone*: where an average makes the image embedding, each
  location goes through norm and projection by itself.
- **Tokenizer**: `BPE` comes with open_clip; others are folders of the Hugging
  Face hub, which have to be in its cache or a local folder.
- A CLIP whose text tower is a Hugging Face model needs that model's
  `config.json` in the cache; where it is, `CLIPTextEncoder` takes BERT,
  RoBERTa, XLM-R, mT5 and M2M-100 encoders.

A CLIP that is not opened takes a class in
`harmoclip_mm/models/towers/families/`: how it embeds, attends, pools and
projects; those there have 100 to 140 lines.

| model | family | pool | dense map | cell | width | tokenizer | context |
|---|---|---|---|---|---|---|---|
"""
RECIPES = dict(cls='value path', attention='pool alone', average='place alone')


def describe(name: str) -> List[str]:
    """Builds a CLIP without memory and reads what it is.

    Args:
        name (str): Its name in open_clip.

    Returns:
        List[str]: The cells of its row; without a name of a family the last
        says why it is not opened.
    """
    import torch

    from harmoclip_mm.models.towers import (
        CLIPTextEncoder,
        HarmoCLIPBackbone,
        clip_spec,
    )

    spec = clip_spec(name)
    text_cfg = spec.model_cfg['text_cfg']
    tokenizer = text_cfg.get('hf_tokenizer_name') or 'BPE'
    ends = [tokenizer, str(spec.context_length)]
    try:
        with torch.device('meta'):
            backbone = HarmoCLIPBackbone(clip=name).eval()
            features = backbone.encode(torch.zeros(1, 3, *backbone.img_size))
            ids = torch.zeros(2, spec.context_length, dtype=torch.long)
            text = CLIPTextEncoder(clip=name).eval()(ids)
    except UsageError as error:
        return [name, '', '', str(error), '', '', *ends]
    dims = backbone.out_dims
    assert features.pooled.shape == (1, dims) == (1, text.tokens.shape[2])
    assert features.dense.shape[:2] == (1, dims)
    pool = backbone.family.pool_name
    cells = [backbone.family.name, pool, RECIPES[pool]]
    return [name, *cells, str(backbone.patch_size), str(dims), *ends]


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--out', default='docs/clips.md', help='the page that is written'
    )
    return parser.parse_args()


def main() -> None:
    """Describes the CLIPs."""
    warnings.filterwarnings('ignore')
    args = parse_args()
    import open_clip

    rows = [
        describe(name)
        for name in track(open_clip.list_models(), description='CLIPs')
    ]
    opened = [row for row in rows if row[1]]
    lines = [f'| {" | ".join(row)} |' for row in opened]
    refused = [row for row in rows if not row[1]]
    if refused:
        lines += ['', '## Not opened', '', '| model | why |', '|---|---|']
        lines += [f'| {row[0]} | {row[3]} |' for row in refused]
    header = HEADER.format(
        supported=len(opened),
        total=len(rows),
        version=open_clip.__version__,
    )
    Path(args.out).write_text(header + '\n'.join(lines) + '\n')
    print(f'{args.out}: {len(opened)} of {len(rows)} are opened')


if __name__ == '__main__':
    run_command(main)
