from types import SimpleNamespace

import pytest

from harmoclip_mm.datasets.figures import DatasetFigures, ModelInput


def sample(*regions, text='', width=200, height=100):
    """Regions are (box, phrase, spans)."""
    return {
        'text': text,
        'width': width,
        'height': height,
        'phrases': {
            n: {'phrase': phrase, 'tokens_positive': spans}
            for n, (_, phrase, spans) in enumerate(regions)
        },
        'instances': [
            {'bbox': box, 'bbox_label': n, 'ignore_flag': 0}
            for n, (box, _, _) in enumerate(regions)
        ],
    }


SAMPLES = [
    sample(
        ([0, 0, 40, 40], 'A dog.', [[0, 5]]),
        ([10, 10, 20, 14], 'a large red ball', []),
        text='A dog. It plays',
    ),
    sample(([0, 0, 200, 96], 'dog', []), text=''),
    sample(([190, 0, 250, 60], 'the dog', [[2, 9]]), text='x the dog y z w'),
    sample(text='nothing'),
]


def gather(samples=SAMPLES, *args, **kwargs):
    figures = DatasetFigures(*args, **kwargs)
    for each in samples:
        figures.add(each)
    return figures


def test_counts():
    figures = gather()
    assert (figures.samples, figures.captions, figures.boxes) == (4, 3, 4)
    assert figures.boxes_each == [2, 1, 1, 0]
    assert figures.phrases == {'dog': 3, 'large red ball': 1}
    assert figures.linked == 2
    assert figures.caption_words == {4: 1, 6: 1, 1: 1}
    assert figures.phrase_words == {2: 2, 4: 1, 1: 1}
    assert figures.longest[:2] == [(4, 'a large red ball'), (2, 'A dog.')]
    # sqrt of 40 x 40, 10 x 4, 200 x 96 and 60 x 60 px
    assert figures.sides == pytest.approx([40, 40**0.5, 19200**0.5, 60])
    assert figures.whole == 1 and figures.reaching == 1
    assert figures.below_cell == figures.cut_captions == 0


@pytest.mark.parametrize(
    'keeps_ratio, sides, below',
    [
        # 200 x 100 to 100 x 100: x by .5, y by 1; the ball is 5 x 4 px
        (False, [800**0.5, 20**0.5, 9600**0.5, 1800**0.5], 1),
        # to 100 x 50: 20 x 20, 5 x 2, 100 x 48 and 30 x 30 px
        (True, [20, 10**0.5, 4800**0.5, 30], 2),
    ],
)
def test_boxes_at_the_size_of_the_input(keeps_ratio, sides, below):
    figures = gather(SAMPLES, ModelInput((100, 100), keeps_ratio, 21))
    assert figures.sides == pytest.approx(sides)
    assert figures.below_cell == below


def test_warnings_of_a_bad_set():
    seen = ModelInput(
        (100, 100), True, 21, lambda text: len(text) > 10, context_length=7
    )
    told = ' | '.join(gather(SAMPLES, seen).warnings())
    for words in (
        '50 % of the boxes are below one cell of the dense map (21 x 21 px)',
        '75 % of the regions have the phrase "dog"',
        '67 % of the captions (2) are cut: they are longer than the 7 tokens',
        '25 % of the samples have no box',
        '25 % of the boxes reach out',
    ):
        assert words in told
    assert 'cover their whole' not in told and 'not linked' not in told


def test_nothing_to_warn_of():
    box = [0, 0, 60, 60]
    good = [sample((box, f'dog {n}', [[0, 3]]), text='dog') for n in range(5)]
    assert gather(good, ModelInput((100, 100), False, 16)).warnings() == []


@pytest.mark.parametrize(
    'samples, words',
    [
        ([sample(text='a dog')], 'only the global loss trains'),
        ([sample(([0, 0, 9, 9], 'dog', []))], 'global loss is silent'),
        (
            [sample(([0, 0, 9, 9], 'dog', []), text='a cat')],
            '100 % of the regions are not linked',
        ),
        (
            [sample(([0, 0, 200, 100], f'{n}', []), text='a') for n in 'abc'],
            '100 % of the boxes cover their whole image',
        ),
        (
            [sample(([0, 0, 9, 9], 'big {red} dog', []))],
            'the phrase "big {red} dog"',
        ),
        (  # as JavaScript counts: "red dog" is [4, 11)
            [
                sample(
                    ([0, 0, 9, 9], 'red dog', [[5, 12]]), text='😀 a red dog.'
                ),
                sample(([0, 0, 9, 9], '狗', [[0, 1]]), text='狗狗'),
            ],
            '50 % of the linked regions (1) have spans',
        ),
    ],
)
def test_other_warnings(samples, words):
    assert any(words in told for told in gather(samples).warnings())


def test_classes_of_a_set_without_phrases():
    info = {
        'text': ('cat', 'dog'),  # mmdet names the classes there
        'instances': [{'bbox': [0, 0, 9, 9], 'bbox_label': 1}] * 2,
        'width': 20,
        'height': 20,
    }
    figures = gather([info], classes=('cat', 'dog'))
    assert figures.phrases == {'dog': 2}
    assert figures.captions == 0 and figures.linked == 0


def test_reads_what_the_pipeline_does(harmoclip_scope):
    from harmoclip_mm.registry import TRANSFORMS

    steps = [
        TRANSFORMS.build({'type': kind, 'clip': 'ViT-B-16', **more})
        for kind, more in (
            ('CLIPResize', {'mode': 'longest'}),
            ('TokenizeRegionText', {}),
        )
    ]
    seen = ModelInput.of_pipeline([SimpleNamespace(), *steps])
    assert (seen.size, seen.keeps_ratio, seen.cell) == ((224, 224), True, 16)
    assert seen.context_length == 77
    # 75 words and two special tokens
    assert not seen.is_cut('dog ' * 75) and seen.is_cut('dog ' * 76)
    assert ModelInput.of_pipeline([]) is None
