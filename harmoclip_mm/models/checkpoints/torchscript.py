"""Tensors of a TorchScript archive, without its code.

OpenAI publishes CLIP as such archives. ``torch.jit.load`` would compile and
could run what they contain; here the archive's pickle is read by an unpickler
that makes tensors and empty shells of modules, and nothing else.
"""

import io
import pickle
import struct
import zipfile
from typing import Any, Dict, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from harmoclip_mm.errors import CheckpointError


class ScriptedWeights(NamedTuple):
    """What is read of a TorchScript archive.

    Attributes:
        state_dict (Dict[str, Tensor]): Tensors by the path of their module.
        quick_gelu (bool, optional): Whether the archived source computes
            QuickGELU; None if it shows neither that nor GELU.
    """

    state_dict: Dict[str, Tensor]
    quick_gelu: Optional[bool]


class _Shell:
    """Stands for any module or object of the archive."""


def _first(value: Any, *_: Any) -> Any:
    """Stands for TorchScript's typed containers: ``(value, type)``."""
    return value


class _TensorUnpickler(pickle.Unpickler):
    """Makes tensors over a mapped file and shells of everything else."""

    def __init__(self, data: bytes, storage) -> None:
        super().__init__(io.BytesIO(data))
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith('__torch__'):
            return _Shell
        if module == 'torch._utils' and name in (
            '_rebuild_tensor',
            '_rebuild_tensor_v2',
            '_rebuild_parameter',
        ):
            return getattr(torch._utils, name)
        if module == 'torch' and name.endswith('Storage'):
            return name
        if module == 'torch.jit._pickle':
            return _first
        if (module, name) == ('collections', 'OrderedDict'):
            return dict
        raise pickle.UnpicklingError(f'{module}.{name}')

    def persistent_load(self, pid: Tuple) -> Any:
        _, kind, key, _, numel = pid
        return self._storage(kind, key, numel)


_DTYPES = dict(
    DoubleStorage=torch.float64,
    FloatStorage=torch.float32,
    HalfStorage=torch.float16,
    BFloat16Storage=torch.bfloat16,
    LongStorage=torch.int64,
    IntStorage=torch.int32,
    ShortStorage=torch.int16,
    CharStorage=torch.int8,
    ByteStorage=torch.uint8,
    BoolStorage=torch.bool,
)


def is_torchscript(path: str) -> bool:
    """Whether a file is a TorchScript archive (it holds ``constants.pkl``).

    Args:
        path (str): The file.

    Returns:
        bool: False also for files that are no zip archives.
    """
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(n.endswith('/constants.pkl') for n in archive.namelist())


def read_torchscript(path: str) -> ScriptedWeights:
    """Reads the tensors of a TorchScript archive, mapped into memory.

    Args:
        path (str): The archive.

    Returns:
        ScriptedWeights: Its parameters and buffers, and the activation.

    Raises:
        CheckpointError: If the archive is damaged or holds objects that are
            neither modules nor tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(
                name[: -len('data.pkl')]
                for name in archive.namelist()
                if name.endswith('/data.pkl') and name.count('/') == 1
            )
            storage = _mapped_storages(path, archive, root)
            data = archive.read(f'{root}data.pkl')
            module = _TensorUnpickler(data, storage).load()
            quick_gelu = _activation(archive)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f'the TorchScript archive {path} holds what is neither a module '
            f'nor a tensor ({error}): only its tensors would be read, and '
            'CLIP needs no others.'
        ) from error
    except Exception as error:
        raise CheckpointError(
            f'the TorchScript archive {path} cannot be read, it may be '
            f'damaged or incomplete: {error or type(error).__name__}'
        ) from error
    found: Dict[str, Tensor] = {}
    _collect(module, '', found)
    return ScriptedWeights(found, quick_gelu)


def _mapped_storages(path: str, archive: zipfile.ZipFile, root: str):
    """A function that returns the tensor storage of a key."""
    with open(path, 'rb') as file:
        size = file.seek(0, io.SEEK_END)
    whole = torch.UntypedStorage.from_file(path, False, size)

    def storage(kind: str, key: str, numel: int):
        info = archive.getinfo(f'{root}data/{key}')
        if info.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError('its tensors are compressed')
        with open(path, 'rb') as file:
            # local header of a zip entry: 30 bytes, the last two fields are
            # the lengths of the name and of the padding (APPNOTE 4.3.7)
            file.seek(info.header_offset + 26)
            name_length, extra_length = struct.unpack('<HH', file.read(4))
        start = info.header_offset + 30 + name_length + extra_length
        dtype = _DTYPES[kind]
        stop = start + numel * torch.empty(0, dtype=dtype).element_size()
        return torch.storage.TypedStorage(
            wrap_storage=whole[start:stop], dtype=dtype, _internal=True
        )

    return storage


def _activation(archive: zipfile.ZipFile) -> Optional[bool]:
    """Reads the activation off the archived source, as text.

    QuickGELU is x * sigmoid(1.702 x), and CLIP has no other sigmoid.
    """
    sources = [
        archive.read(name)
        for name in archive.namelist()
        if '/code/' in name and name.endswith('.py')
    ]
    if any(b'sigmoid(' in source for source in sources):
        return True
    return False if any(b'gelu(' in source for source in sources) else None


def _collect(module: Any, prefix: str, found: Dict[str, Tensor]) -> None:
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            found[prefix + name] = value.detach()
        elif isinstance(value, _Shell):
            _collect(value, f'{prefix}{name}.', found)
