"""The table of ``docs/scaling.md`` is what its formulas give."""

from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / 'docs' / 'scaling.md'
B16 = dict(
    params=149.6e6,
    width=768,
    blocks=12,
    tokens=197,
    text_width=512,
    dims=512,
    images=32,
)
L14 = dict(
    params=427.9e6,
    width=1024,
    blocks=24,
    tokens=577,
    text_width=768,
    dims=768,
    images=10,
)


def plan(
    name,
    gpus,
    params,
    width,
    blocks,
    tokens,
    text_width,
    dims,
    images,
    regions=10,
    caption=16,
    phrase=12,
):
    """A row of the table."""
    texts = caption + regions * phrase

    def activations(once, each):  # bytes of a token and channel
        vision = tokens * width * (once + each * blocks)
        return images * (vision + texts * text_width * (once + each * 12))

    total = gpus * images
    ring = (gpus - 1) / gpus
    held = sent = losses = 0
    for each in (1, regions, regions):  # rows an image of GC, LRC and GR
        rows, own = total * each, images * each
        side = 4 * dims * rows
        streamed = rows > 32768
        sent += (3 if streamed else 2) * ring * 2 * side
        held += 0 if streamed else 2 * side
        one_tile = rows <= max(1024, 1024**2 // own)
        losses += (12 if one_tile else 16) * dims * own * rows
    if total * regions > 32768:
        held += 2 * 4 * dims * 32768
    towers = (
        3
        * images
        * (
            tokens * blocks * (24 * width**2 + 4 * tokens * width)
            + texts * 12 * 24 * text_width**2
        )
    )
    cells = [
        name,
        gpus,
        total,
        f'{16 * params / 1e9:.1f}',
        f'{(8 + 8 / gpus) * params / 1e9:.1f}',
        f'{activations(0, 36) / 1e9:.1f}',
        f'{activations(36, 4) / 1e9:.1f}',
        f'{held / 1e6:.0f}',
        f'{2 * ring * 4 * params / 1e6:.0f}',
        f'{sent / 1e6:.0f}',
        f'{100 * losses / towers:.2f}',
    ]
    return '| ' + ' | '.join(map(str, cells)) + ' |'


@pytest.mark.parametrize('gpus', [8, 64, 512])
@pytest.mark.parametrize(
    ('name', 'model'), [('B/16 at 224', B16), ('L/14 at 336', L14)]
)
def test_the_table_is_what_the_formulas_give(name, model, gpus):
    assert plan(name, gpus, **model) in PAGE.read_text().splitlines()


def test_a_row_by_hand():
    """Numbers small enough to be worked out without the code."""
    row = plan(
        'tiny', gpus=2, params=1e9, width=10, blocks=1, tokens=100,
        text_width=10, dims=1000, images=5, regions=1, caption=6, phrase=4,
    )  # fmt: skip
    # state 16 GB, and 4 GB less of the moments with ZeRO-1; activations 5 x
    # (100 x 360 + 10 x 4320) bytes; gathered 4 x 1000 x 10 x 6 bytes = 0.24
    # MB; ring 2 x 1/2
    assert row == (
        '| tiny | 2 | 10 | 16.0 | 12.0 | 0.0 | 0.0 | 0 | 4000 | 0 | '
        # losses 12 x 1000 x 5 x 10 x 3 = 1.8e6; towers 3 x 5 x (100 x (2400
        # + 4000) + 10 x 12 x 2400) = 13.92e6
        '12.93 |'
    )
