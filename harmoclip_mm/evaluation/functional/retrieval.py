"""Recall of image-to-text and text-to-image retrieval.

Images may have any number of texts. Ties are resolved against the model: the
rank of the right answer is the worst one among equal similarities, so a model
that gives every pair the same similarity recalls nothing.
"""

from typing import Dict, Sequence, Tuple

import numpy as np


def retrieval_ranks(
    image_embeddings: np.ndarray,
    text_embeddings: np.ndarray,
    text_to_image: np.ndarray,
    chunk_size: int = 256,
) -> Tuple[np.ndarray, np.ndarray]:
    """Rank of the right answer of every query, 1 is best.

    The similarity is the dot product, so embeddings come L2-normalised. It is
    accumulated in float64 and rounded to float32: equal embeddings then tie
    whatever the chunk and the BLAS kernel, and the worst rank of the tied is
    well defined.

    - image -> text: rank of the best of the image's own texts = 1 + the
      number of *other* images' texts at least as similar.
    - text -> image: rank of the text's image = 1 + the number of other
      images at least as similar.

    Memory: about ``13 * chunk_size * M`` bytes beside float64 copies of the
    embeddings (two of the texts); time grows with ``N * M * D``.

    Args:
        image_embeddings (np.ndarray): (N, D), L2-normalised.
        text_embeddings (np.ndarray): (M, D), L2-normalised.
        text_to_image (np.ndarray): (M,), row of the image each text
            describes, in [0, N).
        chunk_size (int): Images compared at a time. Defaults to 256.

    Returns:
        tuple[np.ndarray, np.ndarray]: Image-to-text ranks (N,) and
        text-to-image ranks (M,), int64. An image without a text has no right
        answer: its rank is 0, and it stays in the gallery of the texts.

    Raises:
        ValueError: If there are no texts, shapes disagree, an index is out
            of range or an embedding is not finite.

    Examples:
        Two images of two texts each; D = 2. Rows of the similarity matrix
        are images, columns are texts 0, 1 (of image 0) and 2, 3 (image 1)::

            [[1.0, 0.0, 0.6, 0.8],
             [0.0, 1.0, 0.8, 0.6]]

        Image 0: its best text has 1.0 and no other text reaches that: rank
        1. Image 1: its best text has 0.8, text 1 of image 0 has 1.0: rank 2.
        Texts 0 and 2 are most similar to their own images: rank 1. Texts 1
        and 3 are more similar to the other image: rank 2.

        >>> images = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> texts = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6]])
        >>> i2t, t2i = retrieval_ranks(images, texts, np.array([0, 0, 1, 1]))
        >>> i2t.tolist(), t2i.tolist()
        ([1, 2], [1, 2, 1, 2])
    """
    images = np.asarray(image_embeddings, dtype=np.float64)
    texts = np.asarray(text_embeddings, dtype=np.float64)
    owner = np.asarray(text_to_image)
    _check(images, texts, owner)

    # own similarity of every text, rounded as those it is compared with
    own = np.einsum('md,md->m', images[owner], texts).astype(np.float32)
    best = np.full(len(images), -np.inf, dtype=np.float32)
    np.maximum.at(best, owner, own)

    i2t = np.zeros(len(images), dtype=np.int64)
    t2i = np.ones(len(texts), dtype=np.int64)
    for start in range(0, len(images), chunk_size):
        rows = np.arange(start, min(start + chunk_size, len(images)))
        similarity = (images[rows] @ texts.T).astype(np.float32)
        similarity[owner[None] == rows[:, None]] = -np.inf  # own: no rival
        i2t[rows] = 1 + (similarity >= best[rows, None]).sum(axis=1)
        t2i += (similarity >= own[None]).sum(axis=0)
    i2t[np.isneginf(best)] = 0
    return i2t, t2i


def _check(images: np.ndarray, texts: np.ndarray, owner: np.ndarray) -> None:
    if images.ndim != 2 or texts.ndim != 2:
        raise ValueError(
            'embeddings must be matrices, got image_embeddings '
            f'{images.shape} and text_embeddings {texts.shape}'
        )
    if images.shape[1] != texts.shape[1]:
        raise ValueError(
            f'images have {images.shape[1]} dimensions and texts '
            f'{texts.shape[1]}: they are not of one embedding space'
        )
    if len(texts) == 0:
        raise ValueError('there is no text to retrieve')
    if owner.shape != (len(texts),):
        raise ValueError(
            f'text_to_image must be of shape ({len(texts)},), got '
            f'{owner.shape}'
        )
    if not 0 <= owner.min() <= owner.max() < len(images):
        raise ValueError(
            f'text_to_image holds rows {owner.min()} to {owner.max()}, but '
            f'there are {len(images)} images'
        )
    for name, array in (('image', images), ('text', texts)):
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if len(bad):
            raise ValueError(
                f'{len(bad)} {name} embeddings are not finite, the first is '
                f'row {bad[0]}'
            )


def retrieval_recall(
    image_embeddings: np.ndarray,
    text_embeddings: np.ndarray,
    text_to_image: np.ndarray,
    topk: Sequence[int] = (1, 5, 10),
    chunk_size: int = 256,
) -> Dict[str, float]:
    """Recall at k in both directions, in percent.

    Args:
        image_embeddings (np.ndarray): (N, D), L2-normalised.
        text_embeddings (np.ndarray): (M, D), L2-normalised.
        text_to_image (np.ndarray): (M,), row of each text's image.
        topk (Sequence[int]): The k to report. Defaults to (1, 5, 10).
        chunk_size (int): Images compared at a time. Defaults to 256.

    Returns:
        dict[str, float]: ``i2t_r{k}``, the share of images (with at least
        one text) that have one of their texts among the best k, then
        ``t2i_r{k}``, the share of texts whose image is among the best k.

    Raises:
        ValueError: As in :func:`retrieval_ranks`.

    Examples:
        The ranks worked out in :func:`retrieval_ranks` are 1, 2 and
        1, 2, 1, 2:

        >>> images = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> texts = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6]])
        >>> retrieval_recall(images, texts, np.array([0, 0, 1, 1]), (1, 2))
        {'i2t_r1': 50.0, 'i2t_r2': 100.0, 't2i_r1': 50.0, 't2i_r2': 100.0}
    """
    i2t, t2i = retrieval_ranks(
        image_embeddings, text_embeddings, text_to_image, chunk_size
    )
    i2t = i2t[i2t > 0]
    recall = {}
    for name, ranks in (('i2t', i2t), ('t2i', t2i)):
        for k in topk:
            recall[f'{name}_r{k}'] = 100 * float((ranks <= k).mean())
    return recall
