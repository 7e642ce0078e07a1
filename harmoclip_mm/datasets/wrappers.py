"""What is below the wrappers of data sets."""

from typing import Any, Iterator

from .region_phrase import RegionPhraseDataset


def leaf_datasets(dataset: Any) -> Iterator[Any]:
    """Go through the data sets that read something.

    Args:
        dataset (Any): A data set, or a wrapper with ``dataset`` or
            ``datasets``, which may hold further ones.

    Yields:
        Any: The data sets below, in order; one without a wrapper itself.
    """
    inner = getattr(dataset, 'datasets', None) or [
        getattr(dataset, 'dataset', None)
    ]
    if inner == [None]:
        yield dataset
        return
    for each in inner:
        yield from leaf_datasets(each)


def say_boxes(dataset: Any, boxes: int, crowds: int) -> str:
    """What a number of boxes counts, since one data set has several.

    Args:
        dataset (Any): The data set, which may be a wrapper.
        boxes (int): Boxes of its samples.
        crowds (int): Those of them that are to be ignored.

    Returns:
        str: The number, and what one box is.
    """
    text = f'{boxes} boxes'
    if crowds:
        text += f', {crowds} of them crowds'
    found = [
        each
        for each in leaf_datasets(dataset)
        if isinstance(each, RegionPhraseDataset)
    ]
    if found:
        text += ', one for each phrase of a box'
    if any(each.draws_lines for each in found):
        text += ', in one line of each image, drawn at random'
    return text
