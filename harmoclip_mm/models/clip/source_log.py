"""Shares and losses of the data sets of a mixture, in the log."""

from typing import Dict, List

import torch
from mmdet.structures import SampleList
from mmengine.logging import MessageHub
from torch import Tensor

from ..heads import BaseContrastiveHead

_SHARE = 'train/share_'


def log_sources(
    data_samples: SampleList,
    heads: Dict[str, BaseContrastiveHead],
    rows: Dict[str, List[Tensor]],
) -> None:
    """Log which part of a batch each source has, and the losses of its pairs.

    ``share_SOURCE`` and ``loss_HEAD_SOURCE`` stand beside the losses in the
    log, means over the same window. They are of the samples of this process,
    of the first one in the log; a share counts from its first sample on. A
    pair's loss is that against the negatives of all sources, of the head's
    contrastive loss before its weight.

    Args:
        data_samples (SampleList): Samples, with a ``source`` where their data
            set has one; without any nothing is logged.
        heads (Dict[str, BaseContrastiveHead]): Heads by name.
        rows (Dict[str, List[Tensor]]): :func:`recorded_rows` of each.
    """
    names = [each.get('source') for each in data_samples]
    found = sorted({name for name in names if name})
    if not found:
        return
    hub = MessageHub.get_current_instance()
    known = {key[len(_SHARE) :] for key in hub.log_scalars if _SHARE in key}
    for name in sorted(known.union(found)):
        hub.update_scalar(_SHARE + name, names.count(name), len(names))
    images = [
        name
        for name, each in zip(names, data_samples)
        for _ in each.get('caption_ids', ())[:1]
    ]
    regions = [
        name
        for name, each in zip(names, data_samples)
        for _ in range(len(each.gt_instances))
    ]
    for key, directions in rows.items():
        if not directions:
            continue
        of_images = heads[key].requires <= {'image', 'text'}
        owners = images if of_images else regions
        losses = torch.stack(directions).mean(0)
        for name in found:
            own = [place for place, each in enumerate(owners) if each == name]
            if own:
                total = losses[own].sum()
                hub.update_scalar(f'train/loss_{key}_{name}', total, len(own))
