"""From a path to named tensors, whatever container they lie in.

Nothing here knows CLIP: a container is told by its first bytes, read without
running code and mapped into memory where its format allows that.
"""

import json
import os.path as osp
import zipfile
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from torch import Tensor, nn

from harmoclip_mm.errors import CheckpointError

from .pickles import load_weights_only
from .torchscript import is_torchscript, read_torchscript

# In a folder, the first of these that is there (names of open_clip's and
# transformers' hub layouts).
WEIGHT_FILES = (
    'open_clip_model.safetensors',
    'open_clip_pytorch_model.safetensors',
    'model.safetensors',
    'model.safetensors.index.json',
    'open_clip_pytorch_model.bin',
    'pytorch_model.bin',
    'pytorch_model.bin.index.json',
)
# What a training may wrap its state dict in: mmengine, open_clip; EVA, timm.
_WRAPPERS = ('state_dict', 'model', 'module', 'model_state_dict')
# First bytes of files that are often taken for a checkpoint.
_MAGIC = (
    (b'version https://git-lfs', 'a Git LFS pointer: run `git lfs pull`'),
    (b'\x89PNG', 'a PNG image'),
    (b'\xff\xd8\xff', 'a JPEG image'),
    (b'\x1f\x8b', 'compressed by gzip: unpack it first'),
    (b'7z\xbc\xaf', 'compressed by 7-Zip: unpack it first'),
    (b'BZh', 'compressed by bzip2: unpack it first'),
    (b'\x93NUMPY', 'a NumPy array'),
    (b'\x89HDF', 'an HDF5 file'),
    (b'<!', 'a web page: the download went wrong'),
    (b'<html', 'a web page: the download went wrong'),
)


class RawCheckpoint(NamedTuple):
    """What a file holds, before anybody has asked what model it is.

    Attributes:
        path (str): Where it was read, for messages.
        state_dict (Dict[str, Tensor]): Tensors by name, on the CPU and
            possibly mapped from the file: to be copied, not kept. Prefixes
            of wrappers (``module.``, ``_orig_mod.``) are taken off.
        container (Any): The whole object that held the state dict, e.g. a
            dict with ``meta`` and ``optimizer``; None if there was none.
        configs (Dict[str, dict]): JSON files found beside it by file name:
            ``config.json``, ``open_clip_config.json``,
            ``preprocessor_config.json``. Empty unless the file's name is one
            of ``WEIGHT_FILES``.
        quick_gelu (bool, optional): What the code in a TorchScript archive
            computes; None for other files.
    """

    path: str
    state_dict: Dict[str, Tensor]
    container: Any
    configs: Dict[str, Dict]
    quick_gelu: Optional[bool] = None


def read_checkpoint(path: str, trust_pickle: bool = False) -> RawCheckpoint:
    """Reads a checkpoint file or folder.

    Args:
        path (str): A file of ``torch.save``, ``safetensors`` or TorchScript,
            an index of shards, or a folder that holds one of them.
        trust_pickle (bool): Whether to run the code of a file that holds
            more than weights. Defaults to False.

    Returns:
        RawCheckpoint: Its tensors.

    Raises:
        CheckpointError: If there is no such file, or it cannot be read.
    """
    path = osp.expanduser(path)
    if osp.isdir(path):
        path = _find_in_folder(path)
    if not osp.isfile(path):
        raise CheckpointError(f'checkpoint {path} does not exist')
    container, quick_gelu = None, None
    if path.endswith('.index.json'):
        tensors = _read_shards(path, trust_pickle)
    elif _is_safetensors(path):
        tensors = _read_safetensors(path)
    else:
        _check_magic(path)
        if is_torchscript(path):
            tensors, quick_gelu = read_torchscript(path)
        else:
            container = load_weights_only(
                path, mmap=True, trust_pickle=trust_pickle
            )
            tensors = find_state_dict(container, path)
    return RawCheckpoint(
        path,
        strip_wrappers(tensors),
        container,
        _read_configs(path),
        quick_gelu,
    )


def find_state_dict(container: Any, path: str) -> Mapping[str, Tensor]:
    """Finds the state dict in what a file holds.

    Args:
        container (Any): A state dict, a dict with one under
            ``state_dict``, ``model`` or ``module``, or an ``nn.Module``.
        path (str): The file, for the message.

    Returns:
        Mapping[str, Tensor]: The tensors; entries that are none are left
        out.

    Raises:
        CheckpointError: If there are no named tensors.
    """
    found = container
    if isinstance(container, Mapping):
        for name in _WRAPPERS:
            if isinstance(container.get(name), (Mapping, nn.Module)):
                found = container[name]
                break
    if isinstance(found, nn.Module):
        found = found.state_dict()
    if isinstance(found, Mapping):
        tensors = {
            name: value
            for name, value in found.items()
            if isinstance(name, str) and isinstance(value, Tensor)
        }
        if tensors:
            return tensors
    kind = type(container).__name__
    if isinstance(container, Mapping):
        kind += f' with the keys {", ".join(map(str, list(container)[:5]))}'
    raise CheckpointError(
        f'checkpoint {path} holds no state dict but a {kind}.'
    )


def strip_wrappers(tensors: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    """Takes the prefixes of DDP and ``torch.compile`` off the names."""
    stripped = {}
    for name, value in tensors.items():
        for prefix in ('_orig_mod.', 'module.', '_orig_mod.'):
            if name.startswith(prefix):
                name = name[len(prefix) :]
        stripped[name] = value
    return stripped


def _find_in_folder(folder: str) -> str:
    for name in WEIGHT_FILES:
        if osp.isfile(osp.join(folder, name)):
            return osp.join(folder, name)
    raise CheckpointError(
        f'folder {folder} holds no checkpoint of a known name '
        f'({", ".join(WEIGHT_FILES)}): give the file itself.'
    )


def _read_configs(weights: str) -> Dict[str, Dict]:
    folder, configs = osp.dirname(weights), {}
    if osp.basename(weights) not in WEIGHT_FILES:
        return configs  # no hub layout: what lies beside it may be anything's
    for name in (
        'config.json',
        'open_clip_config.json',
        'preprocessor_config.json',
    ):
        path = osp.join(folder, name)
        if osp.isfile(path):
            configs[name] = _read_json(path)
    return configs


def _read_json(path: str) -> Dict:
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except (ValueError, OSError) as error:
        raise CheckpointError(
            f'{path} cannot be read as JSON: {error}'
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f'{path} holds no JSON object.')
    return content


def _is_safetensors(path: str) -> bool:
    """A header's length in 8 bytes, and a JSON object follows."""
    with open(path, 'rb') as file:
        start = file.read(9)
    return path.endswith('.safetensors') or start[8:] == b'{'


def _read_safetensors(path: str) -> Dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(
            f'reading {path} needs safetensors: run `pip install safetensors`.'
        ) from error
    if osp.getsize(path) == 0:
        raise CheckpointError(f'checkpoint {path} is empty (0 bytes).')
    _check_magic(path)
    try:
        return load_file(path)
    except Exception as error:
        raise CheckpointError(
            f'checkpoint {path} ({osp.getsize(path)} bytes) is no complete '
            f'safetensors file, the download may have stopped early: {error}'
        ) from error


def _read_shards(index: str, trust_pickle: bool) -> Dict[str, Tensor]:
    weight_map = _read_json(index).get('weight_map')
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f'{index} holds no weight_map of shards.')
    tensors: Dict[str, Tensor] = {}
    for name in sorted(set(weight_map.values())):
        # a name must not lead out of the folder
        path = osp.join(osp.dirname(index), osp.basename(name))
        if not osp.isfile(path):
            raise CheckpointError(
                f'shard {path} named by {index} does not exist: the '
                'download may be incomplete.'
            )
        if _is_safetensors(path):
            tensors.update(_read_safetensors(path))
        else:
            container = load_weights_only(
                path, mmap=True, trust_pickle=trust_pickle
            )
            tensors.update(find_state_dict(container, path))
    lacking = [name for name in weight_map if name not in tensors]
    if lacking:
        raise CheckpointError(
            f'{len(lacking)} weights that {index} names are in none of its '
            f'shards, the first is {lacking[0]}.'
        )
    return tensors


def _check_magic(path: str) -> None:
    """Refuses what is no checkpoint, by the start of the file."""
    with open(path, 'rb') as file:
        start = file.read(512)
    if not start:
        raise CheckpointError(f'checkpoint {path} is empty (0 bytes).')
    text = start.lstrip().lower()
    for magic, what in _MAGIC:
        if start.startswith(magic) or text.startswith(magic):
            raise CheckpointError(f'{path} is no checkpoint but {what}.')
    if zipfile.is_zipfile(path):
        _check_archive(path)
    elif _is_text(start):
        raise CheckpointError(
            f'{path} is no checkpoint but text; it begins with '
            f'{start[:40].decode("utf-8", "replace").splitlines()[0]!r}.'
        )
    elif start.startswith(b'PK'):
        raise CheckpointError(
            f'checkpoint {path} ({osp.getsize(path)} bytes) ends too early: '
            'the copy or download is incomplete.'
        )


def _check_archive(path: str) -> None:
    with zipfile.ZipFile(path) as archive:
        names: List[str] = archive.namelist()
    if not any(name.endswith('data.pkl') for name in names):
        raise CheckpointError(
            f'{path} is no checkpoint but a zip archive of {len(names)} '
            f'files, the first is {names[0] if names else "(none)"}: unpack '
            'it first.'
        )


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode('utf-8')
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:  # not merely cut in a character
            return False
        text = start[: error.start].decode('utf-8')
    return all(c.isprintable() or c in '\r\n\t\f' for c in text)
