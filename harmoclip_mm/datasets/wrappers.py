"""What is below the wrappers of data sets."""

from typing import Any, Iterator


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
