"""What predictions and ground truth must have in common."""

from typing import Any, List, Sequence

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


def check_same_classes(
    annotated: Sequence[str], classes: Sequence[str], owner: str
) -> None:
    """Refuse classes that are not those of the annotations, in their order.

    Labels of other classes would give figures that mean nothing. Case and
    underscores do not matter, in which data sets differ.

    Args:
        annotated (Sequence[str]): Classes of the data set.
        classes (Sequence[str]): Classes that are scored.
        owner (str): What names them, for the error.

    Raises:
        DataError: If they differ.
    """
    ours, theirs = _plain(classes), _plain(annotated)
    if ours == theirs:
        return
    where = 'one is longer than the other'
    for i, (a, b) in enumerate(zip(theirs, ours)):
        if a != b:
            where = f'class {i} is "{a}" in the data set and "{b}" in it'
            break
    raise DataError(
        f'{owner} ({len(ours)} classes) is not that of the data '
        f"set's annotations ({len(theirs)} classes): {where}; use the "
        'vocabulary of the annotations, or set metainfo of the data set'
    )


def _plain(names: Sequence[str]) -> List[str]:
    return [' '.join(n.lower().replace('_', ' ').split()) for n in names]
