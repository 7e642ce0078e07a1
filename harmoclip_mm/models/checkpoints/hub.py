"""Checkpoints that lie on the Hugging Face hub or at a web address."""

import os
import os.path as osp

import torch

from harmoclip_mm.errors import CheckpointError

from .reading import WEIGHT_FILES, _read_json

HUB_PREFIX = 'hf-hub:'
_CONFIG_FILES = (
    'open_clip_config.json',
    'config.json',
    'preprocessor_config.json',
)


def is_remote(path: str) -> bool:
    """Whether a checkpoint has to be fetched.

    Args:
        path (str): A path, an ``hf-hub:`` name or an address.

    Returns:
        bool: True for the latter two.
    """
    return path.startswith((HUB_PREFIX, 'http://', 'https://'))


def fetch(path: str) -> str:
    """Fetches a checkpoint, unless the local cache has it.

    Args:
        path (str): ``hf-hub:OWNER/NAME``, with ``@REVISION`` if wanted, or an
            ``http(s)://`` address.

    Returns:
        str: Local file or folder.

    Raises:
        CheckpointError: If it cannot be fetched; says what to do.
    """
    if path.startswith(HUB_PREFIX):
        return _fetch_hub(path[len(HUB_PREFIX) :])
    folder = osp.join(torch.hub.get_dir(), 'checkpoints')
    target = osp.join(folder, osp.basename(path.split('?')[0]))
    if not osp.isfile(target):
        os.makedirs(folder, exist_ok=True)
        try:
            torch.hub.download_url_to_file(path, target)
        except Exception as error:
            raise CheckpointError(
                f'{path} cannot be downloaded ({error}): without a network, '
                f'copy the file to {target} or give its path.'
            ) from error
    return target


def _fetch_hub(name: str) -> str:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import EntryNotFoundError
    except ImportError as error:
        raise CheckpointError(
            f'reading hf-hub:{name} needs huggingface_hub: run '
            '`pip install huggingface_hub`.'
        ) from error
    repo, _, revision = name.partition('@')
    reason = None

    def get(file: str):
        nonlocal reason
        try:
            return hf_hub_download(repo, file, revision=revision or None)
        except EntryNotFoundError as error:
            # absent there, or (offline) absent from the cache
            reason = reason or error
            return None

    try:
        for file in _CONFIG_FILES:
            get(file)
        for file in WEIGHT_FILES:
            found = get(file)
            if found is None:
                continue
            if file.endswith('.index.json'):
                shards = _read_json(found).get('weight_map') or {}
                for shard in sorted(set(shards.values())):
                    get(shard)
            return osp.dirname(found)
    except Exception as error:  # no network, no such repository, gated ...
        reason = error
    told = str(reason).strip().splitlines()
    raise CheckpointError(
        f'hf-hub:{name} can neither be fetched nor found in the local cache '
        f'({type(reason).__name__}: {told[0] if told else ""}). Where there '
        f'is a network, run `huggingface-cli download {repo} --local-dir '
        f'DIR`, copy DIR here and give its path instead.'
    ) from reason
