"""What single pairs add to a contrastive loss, for whoever logs it."""

from contextlib import contextmanager
from typing import Iterator, List, Optional

from torch import Tensor

_record: Optional[List[Tensor]] = None


@contextmanager
def recorded_rows() -> Iterator[List[Tensor]]:
    """Collect the losses of single pairs while losses are computed.

    Yields:
        List[Tensor]: To it each contrastive loss adds, for each direction
        that it compares in, the losses of this rank's pairs, shape (n,),
        before ``loss_weight`` and without gradient. Without weights of pairs
        the mean of a direction over the pairs of all ranks, averaged over
        the directions, is the loss; with them only the sigmoid loss has a
        pair's own weight in its row. ``HardNegativeLoss`` adds 0 for a pair
        without negatives, which its mean leaves out.
    """
    global _record
    before, _record = _record, []
    try:
        yield _record
    finally:
        _record = before


def record_rows(rows: Tensor) -> None:
    """Add losses of single pairs, if anybody collects them.

    Args:
        rows (Tensor): Shape (n,).
    """
    if _record is not None:
        _record.append(rows.detach())
