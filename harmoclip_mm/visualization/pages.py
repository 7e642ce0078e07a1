"""Pages in the style of the house: one HTML file each, which loads nothing."""

import base64
import io
from datetime import datetime
from pathlib import Path
from typing import Any, Union

import numpy as np
from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    select_autoescape,
)
from matplotlib.figure import Figure
from PIL import Image

from harmoclip_mm.files import replacing
from harmoclip_mm.version import __version__

# Without random ids, so that equal results give equal pages.
CHART_STYLE = {'svg.hashsalt': 'harmoclip_mm', 'font.size': 9}


def svg_uri(figure: Figure) -> str:
    """A chart as ``data:`` URI of an SVG.

    Args:
        figure (Figure): Made within ``rc_context(CHART_STYLE)``.
    """
    data = io.BytesIO()
    figure.savefig(
        data, format='svg', transparent=True, metadata={'Date': None}
    )
    return _data_uri(data, 'svg+xml')


def jpeg_uri(picture: np.ndarray) -> str:
    """A picture as ``data:`` URI of a JPEG.

    Args:
        picture (np.ndarray): RGB uint8 (H, W, 3).
    """
    data = io.BytesIO()
    Image.fromarray(picture).save(data, 'JPEG', quality=78, optimize=True)
    return _data_uri(data, 'jpeg')


def _data_uri(data: io.BytesIO, kind: str) -> str:
    code = base64.b64encode(data.getvalue()).decode()
    return f'data:image/{kind};base64,{code}'


def render_page(
    template: Union[str, Path], title: str, source: str, **content: Any
) -> str:
    """Render a page, which extends ``base.html.j2`` and may import from
    ``macros.html.j2``, or is Markdown.

    Args:
        template (str | Path): Name of a template of this package, or a file.
        title (str): Heading.
        source (str): What the page was made from, told at its end.
        **content (Any): What the template shows.
    """
    folders = [Path(__file__).parent / 'templates', Path(template).parent]
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=select_autoescape(['html.j2']),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template(Path(template).name).render(
        title=title,
        source=source,
        written=datetime.now().isoformat(' ', timespec='minutes'),
        version=__version__,
        **content,
    )


def save_page(out_file: Union[str, Path], *args: str, **content: Any) -> None:
    """Write a page of :func:`render_page`.

    Args:
        out_file (str | Path): The page, written whole or not; its folder is
            made.
        *args: Arguments of :func:`render_page`.
        **content (Any): As there.
    """
    page = render_page(*args, **content)
    with replacing(out_file) as part:
        Path(part).write_text(page, encoding='utf-8')
