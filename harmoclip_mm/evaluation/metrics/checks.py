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
    where = difference_of_classes(annotated, classes)
    if where:
        raise DataError(
            f'{owner} ({len(classes)} classes) is not that of the data '
            f"set's annotations ({len(annotated)} classes): {where}; use the "
            'vocabulary of the annotations, or set metainfo of the data set'
        )


def difference_of_classes(
    annotated: Sequence[str], classes: Sequence[str]
) -> str:
    """Where two lists of classes differ.

    Args:
        annotated (Sequence[str]): Classes of the data set.
        classes (Sequence[str]): Classes that are compared with them.

    Returns:
        str: The first difference in words, of "it" for ``classes``; empty
        if there is none.
    """
    ours, theirs = _plain(classes), _plain(annotated)
    for i, (a, b) in enumerate(zip(theirs, ours)):
        if a != b:
            return f'class {i} is "{a}" in the data set and "{b}" in it'
    return '' if len(ours) == len(theirs) else 'one is longer than the other'


def _plain(names: Sequence[str]) -> List[str]:
    return [' '.join(n.lower().replace('_', ' ').split()) for n in names]
