"""Pickles of plain data, read without running code of them.

This module is a ``pickle_module`` for :func:`torch.load`. It finds what
torch's own ``weights_only=True`` finds, and the arrays and log buffers that
mmengine's Runner and ``tools/test.py --out`` save. Torch's own reader, which
from 2.6 on can be told these names, is stricter and goes first.
"""

import codecs
import io
import pickle
from collections import Counter
from functools import lru_cache
from typing import Any, Dict

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler import OneCycleParamScheduler

# Methods that what a Runner saves is pickled with: of log buffers, and of the
# one schedule that keeps a function.
_METHODS = {
    HistoryBuffer: ('current', 'max', 'mean', 'min'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}


class Unpickler(pickle.Unpickler):
    """Finds tensors, arrays and log buffers, and refuses all other names."""

    def find_class(self, module: str, name: str) -> Any:
        """Look up a name that the file asks for.

        Raises:
            UnpicklingError: If plain data does not need it.
        """
        try:
            return _found()[f'{module}.{name}']
        except KeyError:
            raise pickle.UnpicklingError(
                f'GLOBAL {module}.{name} is no plain data'
            ) from None


def load(file: Any, **kwargs) -> Any:
    """Read a pickle from an open file, as :func:`pickle.load`."""
    return Unpickler(file, **kwargs).load()


@lru_cache(maxsize=1)
def _found() -> Dict[str, Any]:
    """What names in a file stand for."""
    return {
        # torch's own list had neither at first
        '_codecs.encode': codecs.encode,
        'collections.Counter': Counter,  # milestones of MultiStepLR
        **torch._weights_only_unpickler._get_allowed_globals(),
        'torch.storage._load_from_bytes': _storage_from_bytes,
        **beside_weights(),
    }


@lru_cache(maxsize=1)
def beside_weights() -> Dict[str, Any]:
    """Names of what a Runner saves beside tensors."""
    # numpy 1.26 has a _core too, of stubs
    core = np.core if np.__version__.startswith('1.') else np._core
    found = {
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler': (
            OneCycleParamScheduler
        ),
        'builtins.getattr': _known_method,
        '__builtin__.getattr': _known_method,  # in pickles of protocol 2
        'numpy.ndarray': np.ndarray,
        'numpy.dtype': np.dtype,
    }
    for name in ('numpy.core', 'numpy._core'):  # written by numpy 1 or 2
        for leaf, names in (
            ('multiarray', ('_reconstruct', 'scalar')),
            ('numeric', ('_frombuffer',)),
        ):
            for each in names:
                made = getattr(getattr(core, leaf), each)
                found[f'{name}.{leaf}.{each}'] = made
    for code in '?', 'u1', 'u4', 'i4', 'i8', 'f2', 'f4', 'f8', 'U':
        kind = type(np.dtype(code))
        found[f'{kind.__module__}.{kind.__name__}'] = kind
    return found


def _storage_from_bytes(data: bytes) -> Any:
    """``torch.storage._load_from_bytes``, which would unpickle anything."""
    return torch.load(io.BytesIO(data), weights_only=True)


def _known_method(owner: Any, name: str) -> Any:
    """``getattr`` for ``_METHODS``, and no more."""
    kind = owner if isinstance(owner, type) else type(owner)
    if name in _METHODS.get(kind, ()):
        return getattr(owner, name)
    raise pickle.UnpicklingError('GLOBAL builtins.getattr is no plain data')
