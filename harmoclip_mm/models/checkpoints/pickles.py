"""Reading files of ``torch.save`` without running code of them."""

import os
import pickle
import pickletools
import re
import zipfile
from typing import Any, List

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from harmoclip_mm.errors import CheckpointError

# torch >= 2.6 can allow names; before, a Runner's checkpoint (which holds log
# buffers) can only be read by full unpickling
CAN_ALLOW = hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint')

# What files of weights name, and what a message need not blame.
_HARMLESS = re.compile(
    r'torch\.(\w*Storage|Size|Tensor|device|\w+\d+)$|torch\.storage\.\w+$|'
    r'torch\._utils\._rebuild\w*$|torch\.nn\.parameter\.Parameter$|'
    r'collections\.(OrderedDict|Counter|defaultdict)$|_codecs\.encode$|'
    r'numpy\.(_?core\.multiarray\.(_reconstruct|scalar)|ndarray|dtype)$|'
    r'(mmengine\.logging\.history_buffer\.HistoryBuffer|builtins\.getattr)$'
)


def _history_method(buffer: HistoryBuffer, name: str) -> Any:
    """``getattr`` for what mmengine's log buffers pickle, and no more."""
    ours = buffer is HistoryBuffer or isinstance(buffer, HistoryBuffer)
    if ours and name in ('current', 'max', 'mean', 'min'):
        return getattr(buffer, name)
    raise pickle.UnpicklingError(f'attribute {name} is not allowed')


def _allowed_globals() -> List[Any]:
    """What a checkpoint of mmengine's Runner holds beside tensors."""
    multiarray = getattr(np, '_core', None) or np.core
    multiarray = multiarray.multiarray
    allowed = [
        HistoryBuffer,
        (_history_method, 'builtins.getattr'),
        np.ndarray,
        np.dtype,
    ]
    for core in ('numpy.core', 'numpy._core'):  # written by numpy 1 or 2
        allowed += [
            (multiarray._reconstruct, f'{core}.multiarray._reconstruct'),
            (multiarray.scalar, f'{core}.multiarray.scalar'),
        ]
    kinds = 'bool uint8 int32 int64 uint32 float16 float32 float64 str'
    return allowed + [type(np.dtype(kind)) for kind in kinds.split()]


def pickled_names(path: str) -> List[str]:
    """Names the classes and functions that a file would have unpickled.

    The pickle is disassembled, not run. Names that files of plain weights
    hold as well are left out.

    Args:
        path (str): File written by ``torch.save`` or ``pickle.dump``.

    Returns:
        List[str]: Sorted names such as ``'argparse.Namespace'``; empty when
        none can be found.
    """
    found, strings = set(), ['', '']
    try:
        for pickled in _pickles(path):
            for opcode, arg, _ in pickletools.genops(pickled):
                if opcode.name == 'GLOBAL':
                    found.add(arg.replace(' ', '.'))
                elif opcode.name == 'STACK_GLOBAL':
                    found.add('.'.join(strings[-2:]))
                elif 'UNICODE' in opcode.name:
                    strings.append(arg)
    except (ValueError, EOFError, IndexError, OSError, zipfile.BadZipFile):
        pass  # cut off somewhere: what has been found so far
    return sorted(name for name in found if not _HARMLESS.match(name))


def _pickles(path: str):
    """The pickles of a file: one in a zip archive, several before that."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith('data.pkl'):
                    yield archive.read(name)
        return
    with open(path, 'rb') as file:
        for _ in range(5):  # magic number, version, system, object, keys
            start = file.tell()
            for _ in pickletools.genops(file):
                pass
            end = file.tell()
            file.seek(start)
            yield file.read(end - start)


def load_weights_only(
    path: str,
    map_location: Any = 'cpu',
    mmap: bool = False,
    trust_pickle: bool = False,
) -> Any:
    """Reads a file of ``torch.save`` without running code of it.

    Reads plain state dicts and checkpoints of mmengine's Runner.

    Args:
        path (str): The file.
        map_location (Any): As in :func:`torch.load`. Defaults to 'cpu'.
        mmap (bool): Whether to map the file instead of reading it, where its
            format allows that. Only for tensors that are copied before the
            file may change. Defaults to False.
        trust_pickle (bool): Whether to run the code of a file that holds
            more than weights. Defaults to False.

    Returns:
        Any: What the file holds, usually a dict.

    Raises:
        CheckpointError: If the file is damaged, or holds objects that need
            code to be run; the message names them.
    """
    kwargs = dict(map_location=map_location)
    # files of torch < 1.6 are no archives and cannot be mapped
    if mmap and map_location == 'cpu' and zipfile.is_zipfile(path):
        kwargs['mmap'] = True
    try:
        if trust_pickle:
            return torch.load(path, weights_only=False, **kwargs)
        if CAN_ALLOW:
            with torch.serialization.safe_globals(_allowed_globals()):
                return torch.load(path, weights_only=True, **kwargs)
        try:
            return torch.load(path, weights_only=True, **kwargs)
        except pickle.UnpicklingError:
            if pickled_names(path):
                raise
            # nothing but a Runner's log buffers, which torch < 2.6 cannot
            # be told to allow
            return torch.load(path, weights_only=False, **kwargs)
    except pickle.UnpicklingError as error:
        names = pickled_names(path)
        if not names and 'is not allowed' in str(error):
            names = ['builtins.getattr']  # of something else than log buffers
        if not names:
            raise CheckpointError(
                f'checkpoint {path} cannot be read: it is damaged, '
                'incomplete or no file of torch.save.'
            ) from error
        shown = ', '.join(names[:8]) + (', ...' if len(names) > 8 else '')
        raise CheckpointError(
            f'checkpoint {path} holds more than weights ({shown}), and '
            'reading that would run code of the file. If you trust its '
            'source, set trust_pickle=True (--trust-pickle in the tools), or '
            'extract the weights once: python -c "import torch; '
            f"torch.save(torch.load('{path}', weights_only=False)"
            "['state_dict'], 'weights.pth')\""
        ) from error
    except Exception as error:
        # torch reports damage by RuntimeError, EOFError, KeyError and more
        reason = str(error).strip() or 'the file ends too early'
        size = os.path.getsize(path)
        raise CheckpointError(
            f'checkpoint {path} ({size} bytes) cannot be read, it may be '
            f'damaged or incomplete: {reason.splitlines()[0]}'
        ) from error
