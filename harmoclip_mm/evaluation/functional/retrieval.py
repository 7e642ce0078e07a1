"""Ranks of image-to-text and text-to-image retrieval."""

from typing import Dict, Tuple

import numpy as np

from .ranking import answer_ranks


def retrieval_ranks(
    image_embeddings: np.ndarray,
    text_embeddings: np.ndarray,
    text_to_image: np.ndarray,
    chunk_size: int = 256,
) -> Dict[str, Tuple[np.ndarray, np.ndarray]]:
    """Rank of the right answer of every query, in both directions.

    The similarity is the dot product, so embeddings come L2-normalised. It is
    accumulated in float64 and rounded to float32: equal embeddings then tie
    whatever the chunk and the BLAS kernel, and a tie counts against the
    model, see :func:`answer_ranks`. An image may have any number of texts, of
    which the best counts; without any it is no query, and stays in the
    gallery of the texts.

    Memory: about ``20 * chunk_size * max(N, M)`` bytes beside float64 copies
    of the embeddings; time grows with ``N * M * D``.

    Args:
        image_embeddings (np.ndarray): (N, D), L2-normalised.
        text_embeddings (np.ndarray): (M, D), L2-normalised.
        text_to_image (np.ndarray): (M,), row of the image each text
            describes, in [0, N).
        chunk_size (int): Queries compared at a time. Defaults to 256.

    Returns:
        dict[str, tuple[np.ndarray, np.ndarray]]: Under ``i2t``, of the images
        with at least one text, and under ``t2i``, of the texts, the image of
        each query, and its rank, 1 is best. The recall at k is the share of
        ranks up to k.

    Raises:
        ValueError: If there is no text, an index is out of range or a
            similarity is not finite.

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
        >>> found = retrieval_ranks(images, texts, np.array([0, 0, 1, 1]))
        >>> {name: ranks.tolist() for name, (_, ranks) in found.items()}
        {'i2t': [1, 2], 't2i': [1, 2, 1, 2]}
    """
    images = np.asarray(image_embeddings, dtype=np.float64)
    texts = np.asarray(text_embeddings, dtype=np.float64)
    owners = np.asarray(text_to_image)
    queries = np.unique(owners)
    if owners.shape != (len(texts),) or not owners.size:
        raise ValueError(f'{len(texts)} texts have {owners.shape} images')
    if queries[0] < 0 or queries[-1] >= len(images):
        raise ValueError(
            f'text_to_image holds rows {queries[0]} to {queries[-1]}, but '
            f'there are {len(images)} images'
        )
    found = {}
    for name, left, right, asked, answers in (
        ('i2t', images[queries], texts, queries, owners),
        ('t2i', texts, images, owners, np.arange(len(images))),
    ):
        ranks = []
        for start in range(0, len(left), chunk_size):
            rows = slice(start, start + chunk_size)
            similarity = (left[rows] @ right.T).astype(np.float32)
            own = asked[rows, None] == answers
            ranks.append(answer_ranks(similarity, own))
        found[name] = asked, np.concatenate(ranks)
    return found
