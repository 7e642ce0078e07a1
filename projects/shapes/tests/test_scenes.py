from collections import Counter
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from harmoclip_mm.text import load_vocabulary
from shapes.outlines import GLYPHS
from shapes.scenes import (
    COLOURS,
    LARGE,
    SHAPES,
    SMALL,
    TEXTURES,
    VOCABULARY,
    WORLDS,
    draw_scene,
)

CLASSES = load_vocabulary(VOCABULARY).classes
NOUNS = {'shapes': tuple(SHAPES), 'glyphs': GLYPHS}


def scenes(count, side=80):
    for index in range(count):
        yield draw_scene(np.random.default_rng(index), CLASSES, side)


@pytest.mark.parametrize('world', WORLDS)
def test_vocabulary_is_the_product_of_colours_and_shapes(world):
    classes = load_vocabulary(WORLDS[world]).classes
    assert list(classes) == [f'{c} {s}' for c in COLOURS for s in NOUNS[world]]


@pytest.mark.parametrize('world', WORLDS)
def test_every_colour_and_shape_is_learnt_from_base_combinations(world):
    vocabulary = load_vocabulary(WORLDS[world])
    base, novel = vocabulary.groups['base'], vocabulary.groups['novel']
    assert (len(base), len(novel)) == (68, 12)
    assert set(base) | set(novel) == set(vocabulary.classes)
    for names, key in ((COLOURS, 0), (NOUNS[world], 1)):
        seen = Counter(name.split()[key] for name in novel)
        assert set(seen) == set(names) and max(seen.values()) <= 2


def test_spans_sizes_and_boxes_of_many_scenes():
    counts, textures, sizes = set(), set(), set()
    for scene in scenes(150):
        counts.add(len(scene.objects))
        boxes = np.array([thing.bbox for thing in scene.objects])
        assert boxes.min() >= 0 and boxes.max() <= 80
        for i, thing in enumerate(scene.objects):
            textures.add(thing.texture)
            sizes.add(thing.size)
            start, end = thing.span
            assert scene.caption[start:end] == thing.phrase
            assert thing.phrase.endswith(thing.category)
            low, high = SMALL if thing.size == 'small' else LARGE
            side = (boxes[i, 2:] - boxes[i, :2]).max()
            # Edges that fall within a px count as one on either side.
            assert low * 80 - 1 <= side <= high * 80 + 2
            for word in ('small', 'large', *TEXTURES):
                if word in thing.phrase:
                    assert word in (thing.size, thing.texture)
            for other in boxes[:i]:  # no overlap
                gap = np.maximum(other[:2], boxes[i, :2]) - np.minimum(
                    other[2:], boxes[i, 2:]
                )
                assert gap.max() >= 0
        categories = [thing.category for thing in scene.objects]
        assert len(set(categories)) == len(categories)
    assert counts == {2, 3, 4, 5}
    assert textures == set(TEXTURES) and sizes == {'small', 'large'}


def test_spans_are_the_only_mention_and_attributes_vary():
    mentions = {'size': 0, 'texture': 0, 'none': 0}
    for scene in scenes(60):
        for thing in scene.objects:
            words = thing.phrase.split()
            mentions['size'] += thing.size in words
            mentions['texture'] += thing.texture in words
            mentions['none'] += len(words) == 2
        # Words of attributes stand in the spans only.
        rest = scene.caption
        for thing in sorted(scene.objects, key=lambda t: -t.span[0]):
            rest = rest[: thing.span[0]] + rest[thing.span[1] :]
        words = {'small', 'large', *TEXTURES, *COLOURS, *SHAPES}
        assert not words & set(rest.replace(',', ' ').split())
    assert min(mentions.values()) > 10


@pytest.mark.parametrize('colour', list(COLOURS))
def test_boxes_are_tight_around_the_drawn_pixels(colour):
    # The colour of an object fills its box from side to side, and the pixels
    # just outside of it belong to the background.
    names = [f'{colour} {shape}' for shape in SHAPES]
    target = np.array(COLOURS[colour], float)
    hits, seen = 0, 0
    for seed in range(40):
        scene = draw_scene(np.random.default_rng(seed), names, 160)
        # Scale away brightness, so that dark stripes count as the colour.
        pixels = scene.image.astype(float)
        norm = np.linalg.norm(pixels, axis=2) * np.linalg.norm(target)
        cosine = (pixels @ target) / np.maximum(norm, 1)
        if colour == 'white':
            drawn = pixels.min(2) > 190
        else:
            drawn = (cosine > 0.97) & (pixels.max(2) > 60)
        for thing in scene.objects:
            if thing.texture != 'plain':
                continue
            x1, y1, x2, y2 = thing.bbox
            grown = np.zeros_like(drawn)
            grown[max(0, y1 - 2) : y2 + 2, max(0, x1 - 2) : x2 + 2] = True
            rows, cols = np.nonzero(drawn & grown)
            measured = np.array(
                [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
            )
            seen += 1
            hits += np.abs(measured - thing.bbox).max() <= 2
    # Blurred tips and a background of like hue cost a few.
    assert seen >= 20 and hits / seen > 0.85


def test_area_counts_the_pixels_of_the_object():
    for scene in scenes(30):
        for thing in scene.objects:
            x1, y1, x2, y2 = thing.bbox
            box = (x2 - x1) * (y2 - y1)
            assert 0.15 * box < thing.area <= box
            if thing.shape == 'circle':
                assert thing.area / box == pytest.approx(np.pi / 4, abs=0.1)


def test_same_generator_same_scene():
    first = draw_scene(np.random.default_rng(7), CLASSES, 64)
    again = draw_scene(np.random.default_rng(7), CLASSES, 64)
    other = draw_scene(np.random.default_rng(8), CLASSES, 64)
    assert np.array_equal(first.image, again.image)
    assert first.objects == again.objects
    assert first.caption != other.caption


def test_too_small_pictures_and_too_few_categories_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match='at least 32 px'):
        draw_scene(rng, CLASSES, 16)
    with pytest.raises(ValueError, match='needs 5 categories'):
        draw_scene(rng, CLASSES[:4])


def test_number_size_and_texture_of_the_objects_can_be_chosen():
    counts, sides = set(), []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        scene = draw_scene(
            rng, CLASSES[:3], 64, objects=(1, 3), scale=1.6,
            textures=['dotted'],
        )  # fmt: skip
        assert {thing.texture for thing in scene.objects} == {'dotted'}
        counts.add(len(scene.objects))
        boxes = np.array([thing.bbox for thing in scene.objects])
        assert boxes.min() >= 0 and boxes.max() <= 64
        sides += (boxes[:, 2:] - boxes[:, :2]).max(1).tolist()
    assert counts == {1, 2, 3}
    assert min(sides) >= SMALL[0] * 1.6 * 64 - 1
    assert max(sides) <= LARGE[1] * 1.6 * 64 + 2
    assert max(sides) > LARGE[1] * 64 + 2


@pytest.mark.parametrize('options', [
    dict(objects=(0, 3)),
    dict(objects=(3, 2)),
    dict(objects=(2, 6)),
    dict(scale=0.4),
    dict(scale=1.1),
    dict(objects=(1, 3), scale=1.7),
    dict(details=-0.1),
    dict(textures=['checked']),
    dict(textures=[]),
])  # fmt: skip
def test_scenes_that_cannot_be_drawn_are_refused(options):
    with pytest.raises(ValueError, match=r'objects|scale|details|textures'):
        draw_scene(np.random.default_rng(0), CLASSES, **options)


def test_glyphs_are_drawn_as_the_font_has_them():
    """Pictures that a scene holds, against Pillow's own drawing."""
    font = Path(mpl.get_data_path()) / 'fonts/ttf/DejaVuSans-Bold.ttf'
    for glyph in GLYPHS:
        scene = draw_scene(
            np.random.default_rng(3), [f'white {glyph}'], objects=(1, 1),
            side=96, textures=['plain'],
        )  # fmt: skip
        x1, y1, x2, y2 = scene.objects[0].bbox
        seen = scene.image[y1:y2, x1:x2].mean(axis=2) > 200
        text = Image.new('L', (200, 200))
        pen = ImageDraw.Draw(text)
        pen.text((50, 20), glyph, 255, ImageFont.truetype(str(font), 120))
        drawn = text.crop(text.getbbox()).resize((x2 - x1, y2 - y1))
        drawn = np.asarray(drawn) > 128
        both = (seen & drawn).sum() / (seen | drawn).sum()
        assert both > 0.6, glyph  # turned by up to 10 degrees
