#!/usr/bin/env python
"""A page to try a CLIP: boxes and words, a phrase over the picture, a search.

    python demo/app.py CHECKPOINT --images photos/

opens it in the browser. Only this machine reaches it, pictures that are opened
in it stay in memory, and of the disk it shows no more than --images.
"""

import argparse
import base64
import io
import ipaddress
import json
import threading
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, List
from urllib.parse import urlsplit

try:
    from harmoclip_mm.errors import DataError, UsageError, run_command
    from harmoclip_mm.pixels import rgb_of
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

import numpy as np
from PIL import Image, ImageOps
from rich.progress import track

FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'WEBP')
SUFFIXES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.webp')
PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, TypeError)
MAX_BODY = 32 * 2**20  # bytes of a request
MAX_PIXELS = 50 * 10**6  # of a picture, which may be far larger than its file
MAX_ROWS, MAX_LENGTH = 256, 1000  # boxes or words, and characters of a word
HEADERS = {
    'Cache-Control': 'no-store',
    'Content-Security-Policy': "frame-ancestors 'none'",
    'Cross-Origin-Resource-Policy': 'same-origin',
    'X-Content-Type-Options': 'nosniff',
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('checkpoint', help='a CLIP of any format')
    parser.add_argument('--arch', help='which CLIP, if the file does not tell')
    parser.add_argument('--images', type=Path, help='folder to search')
    parser.add_argument(
        '--template',
        default='a photo of a {}',
        help='what words are put into (default: "%(default)s")',
    )
    parser.add_argument('--device', help='default: a GPU if there is one')
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on (default: %(default)s, this machine alone)',
    )
    parser.add_argument(
        '--port', type=int, default=8000, help='default: %(default)s; 0: any'
    )
    parser.add_argument(
        '--no-browser', action='store_true', help='open no browser'
    )
    args = parser.parse_args()
    if '{}' not in args.template:
        parser.error('--template has no {} for the words')
    return args


def open_picture(file: Any) -> Image.Image:
    """A picture as browsers show it, if it is one of a fair size."""
    try:
        with Image.open(file, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f'more than {MAX_PIXELS} px')
            return rgb_of(ImageOps.exif_transpose(picture))
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        raise DataError(f'not a picture that can be read: {error}') from error


class Answers:
    """What the page asks: each public method is a path of it."""

    def __init__(self, model: Any, template: str) -> None:
        self.model, self.template = model, template
        self.device = next(model.parameters()).device
        self.names: List[str] = []

    def index(self, folder: Path) -> None:
        """Embed the pictures of a folder, those below it included."""
        import torch

        found, embeddings = [], []
        files = sorted(file for file in folder.rglob('*') if file.is_file())
        files = [file for file in files if file.suffix.lower() in SUFFIXES]
        for file in track(files, 'Pictures'):
            try:
                inputs = self.model.preprocess(open_picture(file))
            except DataError as error:
                print(f'{file} is left out: {error}')
                continue
            with torch.no_grad():
                inputs = inputs[None].to(self.device)
                embeddings.append(self.model.encode_image(inputs))
            found.append(file)
        if not found:
            raise UsageError(f'{folder} holds no picture that can be read')
        self.embeddings, self.files = torch.cat(embeddings), found
        self.names = [str(file.relative_to(folder)) for file in found]

    def classify(self, asked: Dict[str, Any]) -> Dict[str, Any]:
        """Probabilities of words for boxes."""
        from harmoclip_mm.models.layers import cosine_logits

        inputs, width, height = self._inputs(asked)
        try:
            boxes = np.array(asked.get('boxes'), dtype=np.float32)
            low, high = boxes.reshape(len(boxes), 2, 2).transpose(1, 0, 2)
            right = (low >= 0) & (low < high) & (high <= [width, height])
            if not 0 < len(boxes) <= MAX_ROWS or not right.all():
                raise ValueError
        except (TypeError, ValueError):
            raise DataError(
                f'boxes are 1 to {MAX_ROWS} lists of left, top, right, bottom '
                f'within the {width} x {height} px of the picture'
            ) from None
        size = inputs.new_tensor([inputs.shape[3], inputs.shape[2]])
        factor = (size / inputs.new_tensor([width, height])).repeat(2)
        boxes = inputs.new_tensor(boxes) * factor
        (regions,) = self.model.encode_regions(inputs, [boxes])
        texts, scale = self._texts(asked), self.model.logit_scale
        logits = cosine_logits(regions, texts, *scale())
        return dict(probabilities=scale.probabilities(logits).tolist())

    def heat(self, asked: Dict[str, Any]) -> Dict[str, Any]:
        """Cosine of the first word with each cell of the picture."""
        cells = self.model.encode_dense(self._inputs(asked)[0])[0]
        heat = (cells * self._texts(asked)[0, :, None, None]).sum(dim=0)
        return dict(heat=heat.tolist())

    def search(self, asked: Dict[str, Any]) -> Dict[str, Any]:
        """The pictures of the folder that are nearest to the first word."""
        from harmoclip_mm.visualization.pages import jpeg_uri

        if not self.names:
            raise DataError('the page was started without --images')
        cosines = self.embeddings @ self._texts(asked)[0]
        best = cosines.topk(min(12, len(cosines)))
        images = []
        for cosine, i in zip(best.values.tolist(), best.indices):
            small = ImageOps.contain(open_picture(self.files[i]), (320, 320))
            uri = jpeg_uri(np.asarray(small))
            images.append(dict(name=self.names[i], cosine=cosine, uri=uri))
        return dict(images=images)

    def _inputs(self, asked: Dict[str, Any]) -> Any:
        """The whole picture at the CLIP's size, and its own size."""
        data = asked.get('image')
        if not data or not isinstance(data, str):
            raise DataError('open a picture first')
        try:
            data = base64.b64decode(data, validate=True)
        except ValueError as error:
            raise DataError('the picture is no base64') from error
        picture = open_picture(io.BytesIO(data))
        height, width = self.model.backbone.img_size
        squeezed = picture.resize((width, height), Image.BICUBIC)
        inputs = self.model.preprocess(squeezed)[None].to(self.device)
        return inputs, picture.width, picture.height

    def _texts(self, asked: Dict[str, Any]) -> Any:
        words = asked.get('words')
        if (
            not isinstance(words, list)
            or not 0 < len(words) <= MAX_ROWS
            or not all(isinstance(word, str) for word in words)
            or not all(0 < len(word.strip()) <= MAX_LENGTH for word in words)
        ):
            raise DataError(
                f'words are 1 to {MAX_ROWS} texts of 1 to {MAX_LENGTH} '
                'characters'
            )
        filled = [self.template.replace('{}', each.strip()) for each in words]
        return self.model.encode_text(filled)


class Server(ThreadingHTTPServer):
    """Serves the page and its questions, one at a time."""

    daemon_threads = True

    def __init__(self, answers: Answers, host: str, port: int) -> None:
        from harmoclip_mm.visualization.pages import render_page

        model = answers.model
        self.answers, self.host, self.lock = answers, host, threading.Lock()
        self.page = render_page(
            Path(__file__).with_name('page.html.j2'),
            'Try a CLIP',
            model.checkpoint_info['path'],
            searched=len(answers.names),
            prompt=answers.template,
        )
        super().__init__((host, port), Handler)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    timeout = 60  # seconds that a silent client keeps a thread

    def do_GET(self) -> None:
        """Answer with the page, whatever else is asked for with an error."""
        if not self._is_for_us():
            self._send(403, 'this is not the page of that host')
        elif self.path != '/':
            self._send(404, 'there is only /')
        else:
            self._send(200, self.server.page)

    def do_POST(self) -> None:
        """Answer a question, a JSON object, with one."""
        self._send(*self._answer())

    def _is_for_us(self) -> bool:
        """Whether the request is for this machine: a name of another one that
        its owner lets point here would let that one's pages read answers."""
        try:
            url = urlsplit(f'//{self.headers.get("Host", "")}')
            if url.hostname in ('localhost', self.server.host):
                return True
            return bool(ipaddress.ip_address(url.hostname or ''))
        except ValueError:
            return False

    def _answer(self) -> tuple:
        import torch

        paths = ('/classify', '/heat', '/search')
        length = self.headers.get('Content-Length', '')
        if not self._is_for_us():
            return 403, 'this is not the page of that host'
        # a type that pages of other sites may not send unasked
        if self.headers.get('Content-Type') != 'application/json':
            return 415, 'questions are application/json'
        if self.path not in paths:
            return 404, f'questions are {", ".join(paths)}'
        if not length.isdecimal() or int(length) > MAX_BODY:
            return 413, f'questions have at most {MAX_BODY} bytes'
        body = self.rfile.read(int(length))
        try:
            asked = json.loads(body)
            if not isinstance(asked, dict):
                raise DataError('a question is a JSON object')
        except (ValueError, RecursionError) as error:
            return 400, str(error)
        try:
            with self.server.lock, torch.inference_mode():
                return 200, getattr(self.server.answers, self.path[1:])(asked)
        except DataError as error:
            return 400, str(error)

    def _send(self, status: int, content: Any) -> None:
        """Send the page, an answer, or what was wrong."""
        is_page = status == 200 and isinstance(content, str)
        if status != 200:
            content = dict(error=content)
        body = (content if is_page else json.dumps(content)).encode()
        self.send_response(status)
        kind = 'text/html; charset=utf-8' if is_page else 'application/json'
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Keep the terminal quiet."""


def main() -> None:
    """Serve the page until Ctrl-C."""
    args = parse_args()
    if args.images and not args.images.is_dir():
        raise UsageError(f'{args.images} is no folder')
    from mmengine.device import get_device

    from harmoclip_mm.apis import load_clip

    device = args.device or get_device()
    answers = Answers(
        load_clip(args.checkpoint, args.arch, device), args.template
    )
    if args.images:
        answers.index(args.images)
    try:
        server = Server(answers, args.host, args.port)
    except OSError as error:
        raise UsageError(
            f'cannot listen on {args.host}:{args.port} ({error.strerror}): '
            'give another --port or --host'
        ) from error
    address = f'http://{args.host}:{server.server_port}'
    print(f'{address} is the page; Ctrl-C ends it', flush=True)
    if not args.no_browser:
        webbrowser.open(address)
    with server:
        server.serve_forever()


if __name__ == '__main__':
    run_command(main)
