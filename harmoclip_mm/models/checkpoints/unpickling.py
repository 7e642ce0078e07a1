"""Files of ``torch.save`` and TorchScript, without running code of them."""

import io
import os
import pickle
import re
import zipfile
from contextlib import suppress
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from harmoclip_mm import unpickling
from harmoclip_mm.errors import CheckpointError


def load_weights_only(
    path: str, mmap: bool = False, trust_pickle: bool = False
) -> Any:
    """Reads a file of ``torch.save`` without running code of it.

    Reads plain state dicts and checkpoints of mmengine's Runner, onto the
    CPU.

    Args:
        path (str): The file.
        mmap (bool): Whether to map the file instead of reading it, where its
            format allows that. Only for tensors that are copied before the
            file may change. Defaults to False.
        trust_pickle (bool): Whether to run the code of a file that holds
            more than weights. Defaults to False.

    Raises:
        CheckpointError: If the file is damaged, or holds objects that need
            code to be run; the message names one.
    """
    kwargs: Dict[str, Any] = dict(map_location='cpu')
    # Files of torch < 1.6 are no archives and cannot be mapped.
    if mmap and zipfile.is_zipfile(path):
        kwargs['mmap'] = True
    try:
        if _is_torchscript(path):
            raise RuntimeError('it is a TorchScript archive')
        if trust_pickle:
            return torch.load(path, weights_only=False, **kwargs)
        # Before torch 2.6 one cannot tell it under which names.
        if hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint'):
            names = unpickling.beside_weights().items()
            allowed = [(made, name) for name, made in names]
            with torch.serialization.safe_globals(allowed):
                return torch.load(path, weights_only=True, **kwargs)
        with suppress(pickle.UnpicklingError):
            return torch.load(path, weights_only=True, **kwargs)
        kwargs.update(weights_only=False, pickle_module=unpickling)
        return torch.load(path, **kwargs)
    except Exception as error:  # torch reports damage by half a dozen kinds
        pattern = r'(?:GLOBAL|class|function) (\w+(?:\.\w+)+)'
        name = re.search(pattern, str(error))
        if not name or not isinstance(error, pickle.UnpicklingError):
            raise unreadable(path, error) from error
        raise CheckpointError(
            f'checkpoint {path} holds more than weights ({name[1]}), and '
            'reading that would run code of the file: if you trust its '
            'source, set trust_pickle=True (--trust-pickle in the tools), or '
            'extract the weights once: python -c "import torch; '
            f"torch.save(torch.load('{path}', weights_only=False)"
            "['state_dict'], 'weights.pth')\""
        ) from error


def unreadable(path: str, error: Exception) -> CheckpointError:
    """The error for a damaged file, or one that is something else."""
    with open(path, 'rb') as file:
        start = file.read(24)
    reason = str(error).split('WeightsUnpickler error: ')[-1].strip()
    return CheckpointError(
        f'checkpoint {path} ({os.path.getsize(path)} bytes, beginning with '
        f'{start!r}) cannot be read, it is no checkpoint or its download is '
        f'incomplete: {(reason or "it ends too early").splitlines()[0]}'
    )


def _is_torchscript(path: str) -> bool:
    """Whether a file is a TorchScript archive, told as torch does."""
    try:
        names = torch._C.PyTorchFileReader(path).get_all_records()
        return 'constants.pkl' in names
    except RuntimeError:  # no archive of torch
        return False


def read_torchscript(
    path: str,
) -> Optional[Tuple[Dict[str, Tensor], Optional[bool]]]:
    """Reads a TorchScript archive, as OpenAI publishes CLIP, without its code.

    Its pickle makes tensors and empty shells of modules, and nothing else.
    Returns its tensors, and whether its code computes QuickGELU,
    x * sigmoid(1.702 x), or GELU, or neither; None for any other file.
    """
    if not _is_torchscript(path):
        return None
    tensors: Dict[str, Tensor] = {}
    try:
        reader = torch._C.PyTorchFileReader(path)
        _collect(_ShellUnpickler(reader).load(), '', tensors)
        names = [n for n in reader.get_all_records() if n.endswith('.py')]
        code = b''.join(map(reader.get_record, names))
    except Exception as error:
        raise unreadable(path, error) from error
    quick = b'sigmoid(' in code  # CLIP has no other
    return tensors, quick if quick or b'gelu(' in code else None


class _Shell:
    """Stands for any module or object of an archive."""


class _ShellUnpickler(unpickling.Unpickler):
    def __init__(self, reader: Any) -> None:
        super().__init__(io.BytesIO(reader.get_record('data.pkl')))
        self.reader = reader

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith('__torch__'):
            return _Shell
        if module == 'torch.jit._pickle':  # a typed container
            return lambda value, *_: value
        dtype = getattr(torch, name.replace('Storage', '').lower(), None)
        if module == 'torch' and isinstance(dtype, torch.dtype):
            return dtype
        if module == 'torch._utils' and name.startswith('_rebuild_tensor'):
            return _strided
        return super().find_class(module, name)

    def persistent_load(self, pid: Tuple) -> Tensor:
        _, dtype, key, _, _ = pid
        data = bytearray(self.reader.get_record(f'data/{key}'))
        return torch.frombuffer(data, dtype=dtype)


def _strided(data: Tensor, start: int, size: Any, stride: Any, *_) -> Tensor:
    return data.as_strided(size, stride, start)


def _collect(value: Any, name: str, found: Dict[str, Tensor]) -> None:
    if isinstance(value, Tensor):
        found[name[1:]] = value
    elif isinstance(value, _Shell):
        for key, child in vars(value).items():
            _collect(child, f'{name}.{key}', found)
