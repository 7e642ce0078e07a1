"""The texts of a sample, in the keys of mmdet's grounding data sets."""

from typing import Any, List, Mapping


def captions_of(sample: Mapping[str, Any]) -> List[str]:
    """The captions of an image.

    Args:
        sample (Mapping): A sample, or the metainfo of a packed one.

    Returns:
        list[str]: ``captions`` where there are any, as for retrieval, else
        ``text`` if it is a caption: data sets of boxes name their classes
        in it, which are no caption.
    """
    if 'captions' in sample:
        return list(sample['captions'])
    text = sample.get('text')
    return [text] if text and isinstance(text, str) else []


def phrases_of(sample: Mapping[str, Any]) -> List[str]:
    """The phrases of an image's regions.

    Args:
        sample (Mapping): A sample, or the metainfo of a packed one.

    Returns:
        list[str]: The phrase of each label; none without ``phrases``.
    """
    return [each['phrase'] for each in sample.get('phrases', {}).values()]
