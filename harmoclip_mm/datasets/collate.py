"""Batches that are cheap to send from a worker."""

from typing import Dict, Sequence, Union

from mmengine.dataset import pseudo_collate
from torch import Tensor
from torch.utils.data import default_collate

from harmoclip_mm.packed_list import PackedList
from harmoclip_mm.registry import FUNCTIONS


@FUNCTIONS.register_module()
def packed_collate(
    data_batch: Sequence[dict],
) -> Dict[str, Union[Tensor, list]]:
    """mmengine's ``pseudo_collate`` whose batches travel as a few tensors.

    Name it in a dataloader: ``collate_fn=dict(type=
    'harmoclip_mm.packed_collate')``. Data samples of every kind may be sent;
    mmdet's preprocessors take the batch as they take any other.

    Args:
        data_batch (Sequence[dict]): Samples with ``inputs`` (C, H, W) and
            ``data_samples``.

    Returns:
        dict: ``inputs`` is one tensor (B, C, H, W) if all images have one
        size, else a list; ``data_samples`` is a :class:`PackedList`.
    """
    batch = pseudo_collate(data_batch)
    inputs = batch['inputs']
    if len({image.shape for image in inputs}) == 1:
        # In a worker, torch stacks straight into shared memory.
        batch['inputs'] = default_collate(inputs)
    else:
        batch['inputs'] = PackedList(inputs)
    batch['data_samples'] = PackedList(batch['data_samples'])
    return batch
