"""Files of images with one long caption each: DCI and DOCCI."""

import json
import os.path as osp
from glob import glob
from typing import List, Optional, Sequence, Tuple

from harmoclip_mm.errors import DataError

# Name of an image without its ending, its file and its caption.
LongCaption = Tuple[str, str, str]


def read_dci(folder: str) -> List[LongCaption]:
    """Read Densely Captioned Images (arXiv 2312.08578).

    The caption is DCI's "extended" one: the short caption, and in a second
    line what its annotators said besides. Captions of masks are left out.

    Args:
        folder (str): ``annotations/`` of DCI, one json file an image.

    Returns:
        List[LongCaption]: By the names of the files.

    Raises:
        DataError: If a file is none of DCI's, or there is none.
    """
    found = []
    for path in sorted(glob(osp.join(folder, '*.json'))):
        try:
            with open(path, encoding='utf-8') as file:
                content = json.load(file)
            name = content['image']
            caption = f'{content["short_caption"]}\n{content["extra_caption"]}'
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f'{path} is no annotation of DCI ({error!r}): give the '
                'folder annotations/ of https://github.com/facebookresearch/'
                'DCI as it is'
            ) from error
        stem = osp.splitext(osp.basename(name))[0]
        found.append((stem, name, caption.strip()))
    return found


def read_docci(
    path: str, splits: Optional[Sequence[str]] = None
) -> List[LongCaption]:
    """Read DOCCI (arXiv 2404.19753).

    Args:
        path (str): ``docci_descriptions.jsonlines``.
        splits (Sequence[str], optional): Splits that are wanted: ``train``,
            ``test``, ``qual_dev`` or ``qual_test``. Defaults to None: all.

    Returns:
        List[LongCaption]: In the order of the file.

    Raises:
        DataError: If a line is none of DOCCI's.
    """
    found = []
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            try:
                content = json.loads(line)
                one = (
                    content['example_id'],
                    content['image_file'],
                    content['description'],
                )
                split = content['split']
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f'{path}, line {number} is none of DOCCI ({error!r}): '
                    'take docci_descriptions.jsonlines of '
                    'https://google.github.io/docci/'
                ) from error
            if not splits or split in splits:
                found.append(one)
    return found
