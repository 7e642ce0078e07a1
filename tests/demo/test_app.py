"""The page to try a CLIP, over HTTP and in Chromium."""

import base64
import http.client
import importlib.util
import io
import json
import re
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image
from processes import open_in_chromium
from tiny_clips import VIT, shake

from harmoclip_mm.apis import export_clip, load_clip
from harmoclip_mm.errors import UsageError
from harmoclip_mm.models import HarmoCLIP

ROOT = Path(__file__).resolve().parents[2]
WORDS = ['red', 'blue <b>']
BOXES = [[0, 0, 32, 32], [10, 4, 60.5, 30]]


@pytest.fixture(scope='module')
def app():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location('app', ROOT / 'demo/app.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture(*colours: str) -> Image.Image:
    """Squares of 32 px side by side."""
    image = Image.new('RGB', (32 * len(colours), 32))
    for place, colour in enumerate(colours):
        image.paste(colour, (32 * place, 0, 32 * place + 32, 32))
    return image


def base64_of(image: Image.Image, **kwargs) -> str:
    """A picture as the page sends it."""
    file = io.BytesIO()
    image.save(file, 'PNG', **kwargs)
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope='module')
def clip(tmp_path_factory) -> str:
    """Folder of a tiny CLIP."""
    folder = str(tmp_path_factory.mktemp('clip') / 'tiny')
    export_clip(shake(HarmoCLIP(clip=VIT)), folder)
    return folder


@pytest.fixture(scope='module')
def server(app, clip, tmp_path_factory):
    """The server of a folder of four pictures, one of them broken."""
    folder = tmp_path_factory.mktemp('pictures')
    (folder / 'below').mkdir()
    for name in ('red', 'blue', 'below/green'):
        picture(Path(name).name).save(folder / f'{name}.png')
    (folder / 'broken.png').write_bytes(b'\x89PNG')
    (folder / 'secret.txt').write_text('secret')
    answers = app.Answers(load_clip(clip), 'a {}')
    answers.index(folder)
    with app.Server(answers, '127.0.0.1', 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def ask(server):
    """Send a request; gives status, headers and content."""

    def send(path, question=None, body=None, **headers):
        headers = {key.replace('_', '-'): x for key, x in headers.items()}
        headers.setdefault('Content-Type', 'application/json')
        link = http.client.HTTPConnection('127.0.0.1', server.server_port)
        if question is not None:
            body = json.dumps(question)
        link.request('GET' if body is None else 'POST', path, body, headers)
        reply = link.getresponse()
        content = reply.read().decode()
        link.close()
        if reply.getheader('Content-Type') == 'application/json':
            content = json.loads(content)
        return reply.status, reply.headers, content

    return send


def test_probabilities_of_boxes(ask, clip):
    image = picture('red', 'blue')
    question = dict(image=base64_of(image), boxes=BOXES, words=WORDS)
    status, _, answer = ask('/classify', question)
    assert status == 200
    model = load_clip(clip)
    inputs = model.preprocess(image.resize((32, 32), Image.BICUBIC))
    boxes = torch.tensor([[0, 0, 16, 32], [5, 4, 30.25, 30]])  # half as wide
    with torch.no_grad():
        (regions,) = model.encode_regions(inputs[None], [boxes])
        texts = model.encode_text(['a red', 'a blue <b>'])
        logits = model.logit_scale()[0] * regions @ texts.T
    found = torch.tensor(answer['probabilities'])
    torch.testing.assert_close(found, logits.softmax(dim=1))
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_a_turned_picture_is_seen_as_browsers_show_it(ask):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    upright = picture('red', 'blue')
    lying = upright.transpose(Image.ROTATE_90)
    answers = [
        ask('/classify', dict(image=image, boxes=BOXES, words=WORDS))[2]
        for image in (base64_of(upright), base64_of(lying, exif=exif))
    ]
    assert answers[0] == answers[1]


def test_heat_of_a_phrase(ask, clip):
    image = picture('red', 'blue')
    status, _, answer = ask(
        '/heat', dict(image=base64_of(image), words=['red'])
    )
    model = load_clip(clip)
    inputs = model.preprocess(image.resize((32, 32), Image.BICUBIC))
    with torch.no_grad():
        cells = model.encode_dense(inputs[None])[0]
        (text,) = model.encode_text('a red')
    expected = torch.einsum('dhw,d->hw', cells, text)
    assert status == 200 and expected.shape == (4, 4)
    torch.testing.assert_close(torch.tensor(answer['heat']), expected)


def test_search(ask, clip):
    status, _, answer = ask('/search', dict(words=['red']))
    assert status == 200
    images = answer['images']
    assert {each['name'] for each in images} == {
        'red.png', 'blue.png', 'below/green.png'
    }  # fmt: skip
    cosines = [each['cosine'] for each in images]
    assert cosines == sorted(cosines, reverse=True)
    model = load_clip(clip)
    with torch.no_grad():
        image = model.encode_image(model.preprocess(picture('red'))[None])
        expected = (image @ model.encode_text('a red').T).item()
    named = {each['name']: each for each in images}
    assert named['red.png']['cosine'] == pytest.approx(expected, abs=1e-5)
    uri = named['red.png']['uri']
    assert uri.startswith('data:image/jpeg;base64,')
    shown = Image.open(io.BytesIO(base64.b64decode(uri.split(',')[1])))
    assert shown.getpixel((160, 160))[0] > 200


def test_nothing_else_is_served(ask):
    for path in ('/secret.txt', '/../secret.txt', '/?', '/etc/passwd'):
        assert ask(path)[0] == 404, path
        assert ask(path, {})[0] == 404, path
    for path in ('/index', '/_inputs', '/__init__'):
        assert ask(path, {})[0] == 404, path


def test_other_hosts_and_sites_are_refused(ask, server):
    for host in ('evil.example', '', f'evil.example:{server.server_port}'):
        assert ask('/', Host=host)[0] == 403
        assert ask('/search', dict(words=['a']), Host=host)[0] == 403
    for host in ('localhost:1', '127.0.0.1', '[::1]:8000', '192.168.0.7'):
        assert ask('/', Host=host)[0] == 200
    plain = ask('/search', dict(words=['a']), Content_Type='text/plain')
    assert plain[0] == 415
    _, headers, page = ask('/')
    assert "default-src 'none'" in page and "connect-src 'self'" in page
    assert headers['Content-Security-Policy'] == "frame-ancestors 'none'"
    assert headers['X-Content-Type-Options'] == 'nosniff'
    assert 'Access-Control-Allow-Origin' not in headers


def test_bad_questions_are_told(ask, app, monkeypatch):
    image = base64_of(picture('red'))
    good = dict(image=image, boxes=[[0, 0, 5, 5]], words=['a'])
    for change, said in (
        (dict(image=None), 'open a picture'),
        (dict(image='/etc/passwd'), 'base64'),
        (dict(image='é'), 'base64'),
        (dict(image=base64.b64encode(b'GIF89a').decode()), 'not a picture'),
        (dict(boxes=[]), 'boxes are'),
        (dict(boxes=[[0, 0, 5]]), 'boxes are'),
        (dict(boxes=[[0, 0, 33, 5]]), 'within the 32 x 32 px'),
        (dict(boxes=[[5, 0, 5, 5]]), 'boxes are'),
        (dict(boxes=[[0, 0, float('nan'), 5]]), 'boxes are'),
        (dict(boxes=[[0, 0, 'x', 5]]), 'boxes are'),
        (dict(boxes=[[0, 0, 5, 5], [0, 0]]), 'boxes are'),
        (dict(boxes=None), 'boxes are'),
        (dict(boxes=[[0, 0, 5, 5]] * 257), 'boxes are'),
        (dict(words='a'), 'words are'),
        (dict(words=[]), 'words are'),
        (dict(words=[' ']), 'words are'),
        (dict(words=['a' * 1001]), 'words are'),
    ):
        status, _, answer = ask('/classify', {**good, **change})
        assert status == 400 and said in answer['error'], (change, answer)
    for body in ('', '[]', 'null', '{', '[' * 100000, b'\xff'):
        assert ask('/classify', body=body)[0] == 400, body
    assert ask('/classify', good)[0] == 200
    for length in (str(app.MAX_BODY + 1), '-1', '', 'x'):
        assert ask('/classify', body='{}', Content_Length=length)[0] == 413
    monkeypatch.setattr(app, 'MAX_PIXELS', 32 * 32 - 1)
    status, _, answer = ask('/classify', good)
    assert status == 400 and 'px' in answer['error']


def test_command_line_errors(run_tool, clip, tmp_path, server):
    with pytest.raises(UsageError, match='is no folder'):
        run_tool('../demo/app.py', clip, '--images', tmp_path / 'none')
    with pytest.raises(UsageError, match='no picture'):
        run_tool('../demo/app.py', clip, '--images', tmp_path)
    with pytest.raises(UsageError, match='another --port'):
        run_tool(
            *('../demo/app.py', clip, '--no-browser'),
            *('--port', server.server_port),
        )


ACTS = """
<script>
(async function () {
  function get(id) { return document.getElementById(id); }
  async function until(check) {
    for (var i = 0; i < 200 && !check(); i++)
      await new Promise(function (go) { setTimeout(go, 50); });
  }
  function point(kind, x, y) {
    var frame = get('canvas').getBoundingClientRect();
    get('canvas').dispatchEvent(new PointerEvent(kind, {
      bubbles: true, clientX: frame.left + x, clientY: frame.top + y}));
  }
  var bytes = Uint8Array.from(atob('PICTURE'), function (c) {
    return c.charCodeAt(0); });
  var moved = new DataTransfer(), said = [];
  moved.items.add(new File([bytes], 'a.png', {type: 'image/png'}));
  get('file').files = moved.files;
  get('file').dispatchEvent(new Event('change'));
  await until(function () { return get('canvas').width === 64; });
  point('pointerdown', 0, 0); point('pointermove', 32, 30);
  point('pointermove', 32, 31.6); point('pointerup', 32, 31.6);
  said.push(get('boxes').value);
  get('boxes').value += '\\n10, 4, 60.5, 30';
  get('boxes').dispatchEvent(new Event('input'));
  get('words').value = 'red, blue <b>';
  get('classify').click();
  await until(function () { return get('table').rows.length === 3; });
  said.push([].map.call(get('table').rows, function (row) {
    return [].map.call(row.cells, function (cell) {
      return cell.textContent; }).join('|'); }).join('/'));
  var plain = get('canvas').toDataURL();
  get('phrase').value = 'red'; get('heat').click();
  await until(function () { return get('range').textContent; });
  said.push(get('canvas').toDataURL() !== plain);
  get('plain').click();
  said.push(get('canvas').toDataURL() === plain);
  get('query').value = 'red'; get('search').click();
  await until(function () { return get('found').children.length; });
  await until(function () { return [].every.call(document.images,
    function (image) { return image.naturalWidth > 0; }); });
  said.push(document.images.length);
  get('boxes').value = 'x'; get('classify').click();
  await until(function () {
    return /boxes are/.test(get('said').textContent); });
  said.push(get('said').textContent.slice(0, 9));
  var out = document.createElement('pre');
  out.id = 'done'; out.textContent = said.join('\\n');
  document.body.appendChild(out);
  console.info('the end');
}());
</script>
"""


@pytest.mark.slow
def test_in_chromium(ask, server, tmp_path, monkeypatch):
    """Open a picture, draw, type, read the numbers; a clean console."""
    image = base64_of(picture('red', 'blue'))
    acts = ACTS.replace('PICTURE', image)
    page = server.page.replace('</body>', acts + '</body>')
    monkeypatch.setattr(server, 'page', page)
    document = open_in_chromium(
        f'http://127.0.0.1:{server.server_port}/',
        tmp_path / 'profile',
        '--virtual-time-budget=60000',
    )
    done = re.search(r'<pre id="done">(.*?)</pre>', document, re.S)
    assert done, document[-2000:]
    question = dict(image=image, boxes=BOXES, words=WORDS)
    rows = ask('/classify', question)[2]['probabilities']
    shown = [
        '|'.join([str(i), *(f'{100 * value:.1f} %' for value in row)])
        for i, row in enumerate(rows, 1)
    ]
    assert done.group(1).split('\n') == [
        '0, 0, 32, 32',
        '/'.join(['box|red|blue &lt;b&gt;', *shown]),
        'true',
        'true',
        '3',
        'boxes are',
    ]
