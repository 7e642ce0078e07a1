"""A list that travels as few tensors."""

import io
import math
import pickle
from typing import Any, Dict, List, Tuple, Union

import torch
from torch import Tensor


class PackedList(list):
    """A list of data samples that travels as a few tensors.

    A sample holds half a dozen small tensors. Sent from a data-loader worker,
    each of them costs a shared-memory file and a file descriptor; copied to a
    GPU, a transfer. This list is an ordinary one to whoever reads it, but when
    it is pickled or moved, the tensors of all its items, however deep they
    lie, go as one tensor of each dtype.
    """

    def __reduce__(self) -> tuple:
        return _unpack, _pack(self)

    def __copy__(self) -> 'PackedList':
        return type(self)(self)

    def to(
        self, device: Union[str, torch.device], non_blocking: bool = False
    ) -> 'PackedList':
        """Copy the items to a device, their tensors in one transfer
        of each dtype.

        Args:
            device (str or torch.device): Where the tensors go.
            non_blocking (bool): As of ``Tensor.to``.

        Returns:
            PackedList: New items, which share nothing with the old ones; on
            the CPU too.
        """
        skeleton, layout, flats = _pack(self)
        flats = [x.to(device, non_blocking=non_blocking) for x in flats]
        return _unpack(skeleton, layout, flats)

    def pin_memory(self) -> 'PackedList':
        """Leave the items as they are.

        Pinning each of these small tensors costs more than it saves.
        """
        return self


class _Pickler(pickle.Pickler):
    """Sets plain tensors aside and leaves their numbers in their places."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=4)
        self.tensors: List[Tensor] = []

    def persistent_id(self, value: Any) -> Any:
        # Subclasses, sparse tensors and those with a graph go the usual way.
        if (
            type(value) is not Tensor
            or value.requires_grad
            or value.layout != torch.strided
            or value.is_quantized
        ):
            return None
        self.tensors.append(value)
        return len(self.tensors) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, skeleton: bytes, tensors: Dict[int, Tensor]) -> None:
        super().__init__(io.BytesIO(skeleton))
        self.tensors = tensors

    def persistent_load(self, number: int) -> Tensor:
        return self.tensors[number]


def _pack(items: list) -> Tuple[bytes, list, List[Tensor]]:
    """Separate a list into objects, places of tensors, and flat tensors."""
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump(list(items))
    kinds: Dict[tuple, List[int]] = {}
    for number, tensor in enumerate(pickler.tensors):
        kinds.setdefault((tensor.dtype, tensor.device), []).append(number)
    layout, flats = [], []
    for numbers in kinds.values():
        tensors = [pickler.tensors[number] for number in numbers]
        layout.append((numbers, [tuple(each.shape) for each in tensors]))
        flats.append(torch.cat([each.reshape(-1) for each in tensors]))
    return file.getvalue(), layout, flats


def _unpack(skeleton: bytes, layout: list, flats: List[Tensor]) -> PackedList:
    """Undo :func:`_pack`; the tensors lie where ``flats`` lie."""
    tensors: Dict[int, Tensor] = {}
    for (numbers, shapes), flat in zip(layout, flats):
        parts = flat.split([math.prod(shape) for shape in shapes])
        for number, shape, part in zip(numbers, shapes, parts):
            part = part.view(shape)
            # Whoever keeps or pickles one tensor shall not keep the batch. On
            # GPUs that costs a launch each, and results go to the CPU anyway.
            tensors[number] = part.clone() if part.is_cpu else part
    return PackedList(_Unpickler(skeleton, tensors).load())
