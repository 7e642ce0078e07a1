"""Embeddings of the texts of a batch."""

from typing import List, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def embed_texts(
    text_encoder: nn.Module, ids: Sequence[Tensor], chunk_size: int = 1024
) -> List[Tensor]:
    """Embeds the texts of samples, each distinct text once.

    Equal texts have equal embeddings to the last bit, so a tie between them
    is one.

    Args:
        text_encoder (nn.Module): A ``CLIPTextEncoder``.
        ids (Sequence[Tensor]): Token ids of each sample, shapes (T_i, L),
            int64; T_i may be 0.
        chunk_size (int): Most texts encoded at once. Defaults to 1024.

    Returns:
        List[Tensor]: L2-normalised embeddings, shapes (T_i, D), float32.
    """
    flat = torch.cat(list(ids))
    index = slice(None)
    if len(flat):
        flat, index = flat.unique(dim=0, return_inverse=True)
    parts = [
        F.normalize(
            text_encoder(chunk, with_tokens=False).pooled.float(), dim=-1
        )
        for chunk in flat.split(chunk_size)
    ]
    rows = torch.cat(parts)[index]
    return list(rows.split([len(each) for each in ids]))
