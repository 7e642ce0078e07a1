"""Visual Genome: region descriptions, several dozen boxes an image.

SOURCE is a folder with region_descriptions.json and image_data.json. Each
description is a text of its own; there is no caption. File names are
VG_100K/ID.jpg or VG_100K_2/ID.jpg, as the address of the image has them.
"""

from pathlib import Path
from typing import Iterator, List

from harmoclip_mm.coco_file import check_fields

from .lines import Line, Tally
from .reading import iter_json, require


def list_parts(args) -> List[Path]:
    """The descriptions."""
    for name in ('region_descriptions.json', 'image_data.json'):
        require(args.source / name, 'SOURCE should be a folder that has it')
    return [args.source / 'region_descriptions.json']


def read(part: Path, args, tally: Tally) -> Iterator[dict]:
    """A line for each image."""
    data, images = part.with_name('image_data.json'), {}
    for index, item in iter_json(data, Tally()):
        tally.where = f'{data}: element {index}'
        check_fields(
            item, tally.where, url='name', width='size', height='size'
        )
        name = '/'.join(item['url'].split('/')[-2:])
        key = item.get('image_id', item.get('id'))
        images[key] = name, item['width'], item['height']
    for index, item in iter_json(part, tally):
        tally.where = f'{part}: element {index}'
        regions = item['regions']
        key = item.get('id', item.get('image_id'))
        if key is None and regions:
            key = regions[0]['image_id']
        tally.where = f'{part}: image {key}'
        if key not in images:
            tally.drop('images that image_data.json does not list')
            continue
        line = Line(tally, *images[key])
        for each in regions:
            box = [each[side] for side in ('x', 'y', 'width', 'height')]
            line.add([box], each['phrase'], layout='xywh')
        yield line.grounding()
