"""Checkpoints that lie on the Hugging Face hub or at a web address."""

import hashlib
import json
import os
import os.path as osp
import re
from typing import Any, Dict, Optional

import torch
from huggingface_hub import snapshot_download

from harmoclip_mm.errors import CheckpointError

HUB = 'hf-hub:'
SCHEMES = (HUB, 'http://', 'https://')
# In a folder, the first of these that is there (layouts of open_clip's and
# transformers' hubs); beside them lie configs and tokenizers.
WEIGHT_FILES = (
    'open_clip_model.safetensors',
    'open_clip_pytorch_model.safetensors',
    'model.safetensors',
    'model.safetensors.index.json',
    'open_clip_pytorch_model.bin',
    'pytorch_model.bin',
    'pytorch_model.bin.index.json',
)
_BESIDE = ('*.json', '*.txt', '*.model')


def is_remote(path: str) -> bool:
    """Whether a checkpoint has to be fetched."""
    return path.startswith(HUB) or '://' in path


def fetch(path: str) -> str:
    """Fetches a checkpoint, unless it is here or in the local cache.

    Args:
        path (str): A path, ``hf-hub:OWNER/NAME``, with ``@REVISION`` if
            wanted, or an ``http(s)://`` address.

    Returns:
        str: Local file or folder.

    Raises:
        CheckpointError: If it cannot be fetched; says what to do.
    """
    if not is_remote(path):
        return path
    if path.startswith(HUB):
        repo, _, revision = path[len(HUB) :].partition('@')
        remedy = (
            f'run `hf download {repo} --local-dir DIR` elsewhere, bring DIR'
        )
    else:
        # The whole address makes the name: many files are called model.pt.
        name = osp.basename(path.split('?')[0])
        name = f'{hashlib.sha256(path.encode()).hexdigest()[:16]}-{name}'
        target = osp.join(torch.hub.get_dir(), 'checkpoints', name)
        remedy = f'copy the file to {target}'
    try:
        if path.startswith(HUB):
            return _fetch_hub(repo, revision or None)
        if not osp.isfile(target):
            os.makedirs(osp.dirname(target), exist_ok=True)
            torch.hub.download_url_to_file(path, target)
        return target
    except Exception as error:  # no network, no such repository, gated ...
        told = str(error).strip().split('\n')[0]
        raise CheckpointError(
            f'{path} can neither be fetched nor found in the local cache '
            f'({type(error).__name__}: {told}): without a network, {remedy} '
            'or give its path.'
        ) from error


def _fetch_hub(repo: str, revision: Optional[str]) -> str:
    for name in WEIGHT_FILES:
        shards = re.sub(r'\.\w+\.index\.json$', '-*-of-*', name)
        folder = snapshot_download(
            repo, revision=revision, allow_patterns=[*_BESIDE, name, shards]
        )
        if osp.isfile(osp.join(folder, name)):
            break
    return folder


def read_json(path: str) -> Dict[str, Any]:
    """Reads a JSON object; a file of anything else is a CheckpointError."""
    try:
        with open(path, encoding='utf-8') as file:
            return dict(json.load(file))
    except (ValueError, TypeError, OSError) as error:
        raise CheckpointError(
            f'{path} cannot be read as a JSON object: {error}'
        ) from error
