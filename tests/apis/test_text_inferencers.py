"""Boxes and images with words, beside the model's own methods."""

import copy
import functools
import http.server
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harmoclip_mm.apis import (
    ImageTextInferencer,
    RegionClassificationInferencer,
)
from harmoclip_mm.errors import DataError, UsageError
from harmoclip_mm.registry import INFERENCERS
from harmoclip_mm.text import Vocabulary, load_vocabulary

TEXTS = ['dog', 'red car', 'tree']
CAPTIONS = ['a dog', 'two red cars', 'a tree by a house']
BOXES = [[8.0, 6.0, 40.0, 36.0], [0.0, 0.0, 64.0, 48.0]]


@pytest.fixture(scope='module')
def classify(tiny_clip):
    return RegionClassificationInferencer(
        tiny_clip, device='cpu', show_progress=False
    )


@torch.no_grad()
def by_hand(model, path, boxes, prompts, size=(32, 32)):
    """Scores (N, T) by load_clip's methods alone."""
    image = Image.open(path).convert('RGB')
    width, height = image.size
    pixels = np.asarray(image.resize(size[::-1], Image.BICUBIC)) / 255
    pixels = (pixels - np.array(model.spec.mean)) / np.array(model.spec.std)
    img = torch.from_numpy(pixels).float().permute(2, 0, 1)[None]
    factor = torch.tensor([size[1] / width, size[0] / height] * 2)
    (rows,) = model.encode_regions(img, [torch.tensor(boxes) * factor])
    scale, bias = model.logit_scale()
    logits = scale * rows @ model.encode_text(prompts).T
    if bias is None:
        return logits.softmax(1)
    return (logits + bias).sigmoid()


def close(found, expected):
    return np.abs(np.array(found) - expected.numpy()).max() < 1e-5


def test_scores_are_those_of_the_model(classify, tiny_clip, pictures):
    path = str(pictures / '0.png')
    (found,) = classify(path, BOXES, TEXTS)['predictions']
    prompts = [f'a photo of a {each}.' for each in TEXTS]
    expected = by_hand(tiny_clip, path, BOXES, prompts)
    assert close(found['text_scores'], expected)
    assert close(found['scores'], expected.max(1).values)
    assert found['labels'] == expected.argmax(1).tolist()
    assert found['bboxes'] == BOXES and 'det_scores' not in found


def test_a_model_in_half_precision(classify, tiny_clip, pictures):
    """Images come as float32 all the same."""
    half = RegionClassificationInferencer(  # not every CPU knows float16
        copy.deepcopy(tiny_clip).bfloat16(), device='cpu', show_progress=False
    )
    path = str(pictures / '0.png')
    (found,) = half(path, BOXES, TEXTS)['predictions']
    (whole,) = classify(path, BOXES, TEXTS)['predictions']
    # cosines in [-1, 1] by rows rounded to 2^-8, times a scale of 1 / 0.07
    assert (
        np.abs(
            np.log(found['text_scores']) - np.log(whole['text_scores'])
        ).max()
        < 2 * 14.3 / 256
    )
    image = half.model.encode_image(half.model.preprocess(path)[None])
    (rows,) = half.model.encode_regions(torch.rand(1, 3, 32, 32), [BOXES])
    assert image.dtype == rows.dtype == half.model.encode_text('a').dtype


def test_probabilities_of_a_siglip_and_another_size(tiny_siglip, pictures):
    classify = RegionClassificationInferencer(
        tiny_siglip,
        device='cpu',
        img_size=(64, 48),
        templates='none',
        show_progress=False,
    )
    path = str(pictures / '2.png')
    boxes = [[0.0, 5.0, 40.0, 60.0]]
    (found,) = classify(path, boxes, TEXTS)['predictions']
    expected = by_hand(tiny_siglip, path, boxes, TEXTS, (64, 48))
    assert close(found['text_scores'], expected)


def test_forms_of_an_image_and_sizes_of_a_batch_change_nothing(
    classify, pictures
):
    paths = [str(path) for path in sorted(pictures.iterdir())]
    boxes = [BOXES, [], [[1, 1, 30, 60]]]
    alone = classify(paths, boxes, TEXTS)['predictions']
    images = [Image.open(path) for path in paths]
    arrays = [np.asarray(image)[..., ::-1] for image in images]
    as_paths = [Path(path) for path in paths]
    for inputs in (paths, str(pictures), pictures, as_paths, images, arrays):
        found = classify(inputs, boxes, TEXTS, batch_size=2)['predictions']
        assert [each['bboxes'] for each in found] == [
            each['bboxes'] for each in alone
        ]
        for one, other in zip(found, alone):
            scores = torch.tensor(other['text_scores'])
            assert not len(scores) or close(one['text_scores'], scores)


def test_an_address(classify, pictures):
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(pictures)
    )
    handler.log_message = lambda *args: None
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f'http://127.0.0.1:{server.server_port}/0.png'
        (found,) = classify(address, BOXES, TEXTS)['predictions']
    finally:
        server.shutdown()
    (local,) = classify(str(pictures / '0.png'), BOXES, TEXTS)['predictions']
    assert found == local


def test_rescoring_a_coco_file_of_a_folder(classify, pictures):
    images = [dict(id=n, file_name=f'{n}.png') for n in (2, 0)]
    annotation = dict(image_id=0, bbox=[8, 6, 32, 30], score=0.5)
    content = dict(images=images, annotations=[annotation])
    file = pictures.parent / f'{pictures.name}.json'
    file.write_text(json.dumps(content))
    found = classify(str(pictures), str(file), TEXTS)['predictions']
    assert [len(each['bboxes']) for each in found] == [0, 1]
    (alone,) = classify(str(pictures / '0.png'), BOXES[:1], TEXTS)[
        'predictions'
    ]
    assert found[1]['det_scores'] == [0.5]
    assert found[1]['scores'] == alone['scores']


def test_one_word_is_a_word(classify, pictures):
    """Whatever it is, even the name of a vocabulary."""
    path = str(pictures / '0.png')
    for word in ('bus', 'coco80'):
        (found,) = classify(path, BOXES, word)['predictions']
        assert np.array(found['text_scores']).shape == (2, 1)


def test_prompts_of_a_vocabulary_are_taken_as_they_are(
    classify, tiny_clip, pictures
):
    path = str(pictures / '0.png')
    for words in (('AC/DC', 'a_b'), ('c', 'd')):
        given = Vocabulary(('1', '2'), prompts=words)
        (found,) = classify(path, BOXES, given)['predictions']
        prompts = [f'a photo of a {each}.' for each in words]
        expected = by_hand(tiny_clip, path, BOXES, prompts)
        assert close(found['text_scores'], expected)


def test_the_best_of_texts_that_are_certain(tiny_siglip, pictures):
    """Probabilities of 1 tie, cosines do not."""
    model = copy.deepcopy(tiny_siglip)
    model.logit_scale.bias.data.fill_(60)
    words = [f'word {number}' for number in range(20)]
    boxes = RegionClassificationInferencer(
        model, device='cpu', templates='none', show_progress=False
    )
    path = str(pictures / '0.png')
    (found,) = boxes(path, BOXES, words)['predictions']
    assert np.array(found['text_scores']).min() == 1
    model.logit_scale.bias.data.fill_(0)
    expected = by_hand(model, path, BOXES, words).argmax(1)
    assert found['labels'] == expected.tolist() and expected.any()


def test_words_are_encoded_once(classify, pictures, monkeypatch):
    texts = ['one', 'two']
    classify(str(pictures / '0.png'), BOXES, texts)
    tower = classify.model.text_encoder
    monkeypatch.setattr(tower, 'forward', lambda *a, **k: 1 / 0)
    classify(str(pictures / '1.png'), BOXES, texts)


def test_pictures_and_predictions_are_written(classify, pictures, tmp_path):
    result = classify(
        [str(pictures / '0.png'), str(pictures / '1.png')],
        [BOXES, BOXES],
        TEXTS,
        out_dir=str(tmp_path),
        return_vis=True,
    )
    written = json.loads((tmp_path / 'preds' / '0.json').read_text())
    assert written == result['predictions'][0]
    drawn = np.asarray(Image.open(tmp_path / 'vis' / '1.png').convert('RGB'))
    assert (drawn == result['visualization'][1]).all()
    original = np.asarray(Image.open(pictures / '1.png'))
    assert (drawn[:48, :64] != original).any()
    # what no box or tag covers has kept its colours
    assert (drawn[40:45, 45:60] == original[40:45, 45:60]).any()


def test_two_images_of_one_name_do_not_write_over_each_other(
    classify, pictures, tmp_path
):
    paths = [str(pictures / '0.png')] * 2
    with pytest.raises(UsageError, match="2 images are named '0'"):
        classify(paths, [BOXES] * 2, TEXTS, out_dir=str(tmp_path))


def test_what_cannot_be_used_is_named(classify, pictures, tmp_path):
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes(b'no picture')
    with pytest.raises(DataError, match=r'broken\.jpg'):
        classify(str(broken), BOXES, TEXTS)
    for wrong in (None, torch.zeros(3, 5, 5), (x for x in 'ab')):
        with pytest.raises(
            DataError, match=f'{type(wrong).__name__} is no im'
        ):
            classify(wrong, BOXES, TEXTS)
    with pytest.raises(UsageError, match="'Dog' and 'dog' have one prompt"):
        classify(str(pictures / '0.png'), BOXES, ['Dog', 'dog'])
    with pytest.raises(DataError, match='uint8'):
        classify(np.zeros((5, 5)), BOXES, TEXTS)
    with pytest.raises(DataError, match=r'0\.png: box 1 .* outside .*64 x 48'):
        classify(str(pictures / '0.png'), [BOXES[0], [70, 1, 80, 9]], TEXTS)
    with pytest.raises(UsageError, match='holds none'):
        (tmp_path / 'empty').mkdir()
        classify(str(tmp_path / 'empty'), 2, TEXTS)
    with pytest.raises(UsageError, match='template'):
        RegionClassificationInferencer(classify.model, templates='absent')


def test_photos_with_boxes_of_their_file(classify, coco_photos):
    (file,) = coco_photos.glob('annotations/instances_val2017*.json')
    folder = str(coco_photos / 'val2017')
    found = classify(
        folder, str(file), load_vocabulary('coco80'), batch_size=8
    )
    content = json.loads(file.read_text())
    counts = [len(each['bboxes']) for each in found['predictions']]
    assert len(counts) == len(content['images'])
    assert sum(counts) == len(content['annotations'])
    assert all(
        abs(sum(row) - 1) < 1e-4
        for each in found['predictions']
        for row in each['text_scores']
    )


def test_it_is_registered(tiny_clip):
    kind = INFERENCERS.get('RegionClassificationInferencer')
    assert kind is RegionClassificationInferencer


@pytest.mark.parametrize('name', ['tiny_clip', 'tiny_siglip'])
@torch.no_grad()
def test_whole_images_with_texts(name, request, pictures, tmp_path):
    model = request.getfixturevalue(name)
    compare = ImageTextInferencer(model, device='cpu', show_progress=False)
    result = compare(
        str(pictures),
        CAPTIONS,
        batch_size=2,
        return_vis=True,
        out_dir=str(tmp_path),
    )
    paths = sorted(pictures.iterdir())
    assert len(result['predictions']) == len(paths) == 3
    texts = model.encode_text(CAPTIONS)
    for path, found in zip(paths, result['predictions']):
        image = model.encode_image(model.preprocess(str(path))[None])
        cosines = (image @ texts.T)[0]
        scale, bias = model.logit_scale()
        logits = scale * cosines
        expected = (
            logits.softmax(0) if bias is None else (logits + bias).sigmoid()
        )
        similarities = np.array(found['similarities'])
        assert np.abs(similarities - cosines.numpy()).max() < 1e-5
        probabilities = np.array(found['probabilities'])
        assert np.abs(probabilities - expected.numpy()).max() < 1e-5
        file = tmp_path / 'preds' / f'{path.stem}.json'
        assert json.loads(file.read_text()) == found
        assert (tmp_path / 'vis' / path.name).is_file()
    assert [each.shape[2] for each in result['visualization']] == [3] * 3


def test_no_text_is_an_error(tiny_clip, pictures):
    compare = ImageTextInferencer(tiny_clip, device='cpu')
    with pytest.raises(UsageError, match='at least one text'):
        compare(str(pictures), [])
