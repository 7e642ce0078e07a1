"""Files of any size and origin: JSON piece by piece, sizes of images."""

import json
import re
from argparse import Namespace
from pathlib import Path
from typing import Any, Iterator, Optional, Tuple

from PIL import Image

from harmoclip_mm.errors import DataError, UsageError

from .lines import Tally

_CHUNK = 1 << 20  # characters
_SPACE = re.compile(r'[ \t\n\r]*')
_DECODER = json.JSONDecoder()
_ORIENTATION = 0x0112  # tag of EXIF


def require(path: Path, what: str) -> Path:
    """A path that exists.

    Raises:
        DataError: If it does not, saying what was expected there.
    """
    if not path.exists():
        raise DataError(f'{path} is missing: {what}')
    return path


def require_images(args: Namespace) -> None:
    """Where a source has no sizes of its images."""
    if args.images is None:
        raise UsageError(f'{args.format} needs --images, for sizes of images')


def read_lines(path: Path) -> Iterator[Tuple[int, str]]:
    """Lines with their numbers, without blank ones, BOM and line ends."""
    try:
        with open(path, encoding='utf-8-sig') as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path}: not a text file ({error})') from error


def iter_json(path: Path, tally: Tally) -> Iterator[Tuple[Any, Any]]:
    """Read a large JSON file in little memory.

    Args:
        path (Path): The file, a list or an object.
        tally (Tally): Told how far it is read.

    Yields:
        tuple: Of a list, position and element. Of an object, key and value;
        of a value that is a list, the key and each element.

    Raises:
        DataError: If it is no such JSON, naming file and line.
    """
    try:
        size = max(path.stat().st_size, 1)
        with open(path, encoding='utf-8-sig') as file:
            text = _Text(file, path, lambda at: tally.on_move(at / size))
            if text.take('[{') == '[':
                for index, _ in enumerate(text.items(']')):
                    yield index, text.value()
            else:
                for _ in text.items('}'):
                    key = text.value()
                    text.take(':')
                    if text.peek() != '[':
                        yield key, text.value()
                        continue
                    text.take('[')
                    for _ in text.items(']'):
                        yield key, text.value()
            text.end()
    except OSError as error:
        raise DataError(f'{path}: cannot be read ({error})') from error


class _Text:
    """A window that moves over the text of a JSON file."""

    def __init__(self, file, path, on_move) -> None:
        self._file, self._path, self._on_move = file, path, on_move
        self._text, self._at, self._line = '', 0, 1

    def _more(self) -> bool:
        self._line += self._text.count('\n', 0, self._at)
        left = self._text[self._at :]
        # As much again as is there: a long element is not read over and over.
        try:
            chunk = self._file.read(max(_CHUNK, len(left)))
        except UnicodeDecodeError as error:
            raise DataError(
                f'{self._path}: not a text in UTF-8 ({error})'
            ) from error
        self._text, self._at = left + chunk, 0
        self._on_move(self._file.buffer.tell())
        return bool(chunk)

    def peek(self) -> str:
        """The next character but white space, '' at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ''

    def take(self, expected: str) -> str:
        """The next character, which must be one of these."""
        found = self.peek()
        if not found or found not in expected:
            self._fail(f'{found or "its end"!r}, not one of {expected!r}')
        self._at += 1
        return found

    def items(self, closing: str) -> Iterator[None]:
        """Stand before each element in turn."""
        if self.peek() != closing:
            yield
            while self.take(',' + closing) == ',':
                yield
        else:
            self.take(closing)

    def end(self) -> None:
        """Nothing may be left but white space."""
        if self.peek():
            self._fail('more behind its end', 'are these two files in one?')

    def value(self) -> Any:
        """The element that begins here."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                self._fail('too deeply nested')
            except json.JSONDecodeError as error:
                if not self._more():
                    self._fail(error.msg)
                continue
            # A number may go on behind what has been read: 12, .5 or 12, e+5.
            left = len(self._text) - end
            if left > 2 or not self._more():
                self._at = len(self._text) - left
                return value

    def _fail(self, why: str, hint: str = 'is the file whole?') -> None:
        line = self._line + self._text.count('\n', 0, self._at)
        raise DataError(f'{self._path}:{line}: not valid JSON ({why}); {hint}')


def image_size(
    path: Path, tally: Tally, turned: bool = True
) -> Optional[Tuple[int, int]]:
    """Width and height of an image in px, read from its header alone.

    Args:
        path (Path): The image.
        tally (Tally): Counts an image that cannot be used.
        turned (bool): Whether an image may be stored in another orientation
            than EXIF data shows it in. Defaults to True.

    Returns:
        tuple[int, int]: Of the image as it is stored, or None.
    """
    try:
        with Image.open(path) as image:
            if turned or image.getexif().get(_ORIENTATION, 1) in (0, 1):
                return image.size
        return tally.drop('images that EXIF data turns')
    except FileNotFoundError:
        return tally.drop('images that are missing')
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return tally.drop('images that cannot be read')
