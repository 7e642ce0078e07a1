"""What all metrics check."""

from typing import Any, Sequence

from harmoclip_mm.errors import DataError


def check_unique(ids: Sequence[Any]) -> None:
    """Refuse an image that was evaluated twice.

    Its boxes would count twice, and in retrieval it could never come first
    alone.

    Args:
        ids (Sequence[Any]): Image id of each sample; None is unknown.

    Raises:
        DataError: If an id occurs twice.
    """
    seen = set()
    for img_id in ids:
        if img_id is not None and img_id in seen:
            raise DataError(
                f'image {img_id} occurs twice among the {len(ids)} samples: '
                'evaluation needs one sample an image, with all of its boxes '
                'and captions; give each image of the annotation file an id '
                'of its own'
            )
        seen.add(img_id)
