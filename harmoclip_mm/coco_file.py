"""Annotation files: read, and every field checked that is used.

pycocotools and mmdet take what they find: of two annotations with one id the
first is lost, a box that is no box ends in a traceback hours later.
"""

import json
import math
from typing import Any, Dict, Iterator, List, Optional, Tuple

import mmengine.fileio as fileio

from harmoclip_mm.errors import DataError


def _is_number(value: Any) -> bool:
    # not isinstance: true and false are no numbers of JSON
    return type(value) in (int, float) and math.isfinite(value)


def _is_box(value: Any) -> bool:
    if type(value) is not list or len(value) != 4:
        return False
    return all(_is_number(each) and abs(each) < 1e6 for each in value)


def _is_name(value: Any) -> bool:
    return type(value) is str and value.strip() != ''


def _is_names(value: Any) -> bool:
    return type(value) is list and all(map(_is_name, value))


_KINDS = {
    'any': ('there', lambda each: True),
    'box': ('four numbers [x, y, width, height] in px', _is_box),
    'flag': (
        '0 or 1',
        lambda each: type(each) in (int, bool) and 0 <= each <= 1,
    ),
    'id': ('an integer or a text', lambda each: type(each) in (int, str)),
    'list': ('a list', lambda each: type(each) is list),
    'lists': (
        'an object of lists of texts that are not blank',
        lambda each: type(each) is dict and all(map(_is_names, each.values())),
    ),
    'name': ('a text that is not blank', _is_name),
    'names': ('a list of texts that are not blank', _is_names),
    'number': ('a number', _is_number),
    'share': (
        'a number from 0 to 1',
        lambda each: _is_number(each) and 0 <= each <= 1,
    ),
    'size': (
        'a positive integer, in px',
        lambda each: _is_number(each) and 0 < each < 2**31 and each % 1 == 0,
    ),
    'text': ('a text', lambda each: type(each) is str),
}


def read_json(
    path: str, remedy: str, backend_args: Optional[dict] = None
) -> Any:
    """Read a json file.

    Args:
        path (str): The file.
        remedy (str): What to do where there is none.
        backend_args (dict, optional): Its file backend.

    Raises:
        DataError: If it cannot be read or is not JSON.
    """
    content = _read(path, remedy, backend_args)
    try:
        # of UTF-8, as those who read the file after us take for granted
        return json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise DataError(f'{path} is not valid JSON ({error})') from error


def read_json_lines(
    path: str, remedy: str, backend_args: Optional[dict] = None
) -> Iterator[Tuple[str, Any]]:
    """Read a file with JSON in each line; blank lines are passed over.

    Args:
        path (str): The file.
        remedy (str): What to do where there is none.
        backend_args (dict, optional): Its file backend.

    Yields:
        tuple[str, Any]: ``file:line``, for messages, and what stands there.

    Raises:
        DataError: If it cannot be read or a line is not JSON; names both.
    """
    lines = _read(path, remedy, backend_args).splitlines()
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield f'{path}:{number}', json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f'{path}:{number}: not valid JSON ({error})'
                ) from error


def _read(path: str, remedy: str, backend_args: Optional[dict]) -> bytes:
    try:
        return fileio.get(path, backend_args=backend_args)
    except OSError as error:
        raise DataError(
            f'{path} cannot be read ({error.strerror or error}): {remedy}'
        ) from error


def check_fields(record: Any, where: str, **kinds: str) -> None:
    """Check the fields of one record.

    Args:
        record (Any): The record.
        where (str): File and place in it, for messages.
        **kinds (str): What a field holds: ``'any'``, ``'box'``, ``'flag'``,
            ``'id'``,
            ``'list'``, ``'lists'`` (an object of names), ``'name'`` (a text
            that is not blank), ``'names'``, ``'number'``, ``'share'`` (from 0
            to 1), ``'size'`` (px) or ``'text'``; with a ``'?'`` behind where
            it may be missing.

    Raises:
        DataError: If a field is otherwise; names place, id and field.
    """
    if type(record) is not dict:
        raise DataError(f'{where} must be an object, not {record!r:.80}')
    for field, kind in kinds.items():
        wanted, holds = _KINDS[kind.rstrip('?')]
        if field in record:
            if holds(record[field]):
                continue
            found = f'must be {wanted}, not {record[field]!r:.80}'
        elif kind.endswith('?'):
            continue
        else:
            found = 'is missing'
        if 'id' in record:
            where += f' (id {record["id"]!r:.80})'
        raise DataError(f'{where}: {field!r} {found}')


def check_records(
    content: Any, key: str, path: str, **kinds: str
) -> List[Dict[str, Any]]:
    """Take a list of records whose fields are as they must be.

    Args:
        content (Any): What the file holds.
        key (str): Name of the list in it: ``'images'``, ``'annotations'`` ...
        path (str): The file, for messages.
        **kinds (str): What its fields hold, see :func:`check_fields`. No two
            records may share their ``id``.

    Raises:
        DataError: If a field is otherwise; names file, record and field.
    """
    records = content.get(key) if isinstance(content, dict) else None
    if not isinstance(records, list):
        raise DataError(
            f'{path} is not in COCO format: it has no list {key!r}'
        )
    places: Dict[Any, int] = {}  # by id
    for number, record in enumerate(records):
        check_fields(record, f'{path}: {key}[{number}]', **kinds)
        if 'id' in kinds and 'id' in record:
            first = places.setdefault(record['id'], number)
            if first != number:
                raise DataError(
                    f'{path}: {key}[{first}] and {key}[{number}] both have id '
                    f'{record["id"]!r}; give each an id of its own'
                )
    if len({type(each) for each in places}) > 1:
        raise DataError(
            f'{path}: some ids of {key!r} are integers, others are texts; '
            'take one of the two'
        )
    return records


def check_members(
    records: List[Dict[str, Any]], key: str, known: Any, path: str
) -> None:
    """Refuse records that point at what is not there.

    Args:
        records (List[Dict[str, Any]]): Records, see :func:`check_records`.
        key (str): The field that points: ``'image_id'``, ``'category_id'``.
        known (Any): The ids that there are, as a set or a dict.
        path (str): The file that has them, for messages.

    Raises:
        DataError: If one points elsewhere; names it.
    """
    for record in records:
        if record[key] not in known:
            raise DataError(
                f'{path} does not list {key} {record[key]!r} of annotation '
                f'{record.get("id")!r}: use the files of one split, as they '
                'were made'
            )
