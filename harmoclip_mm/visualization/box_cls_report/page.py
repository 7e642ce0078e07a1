"""The page: one HTML file that loads nothing."""

from pathlib import Path
from typing import Union

from ..pages import save_page
from .charts import box_thumbnail, reliability_chart, size_chart
from .figures import BoxClsFigures

# Worst classes that are shown, and pictures of each of them.
NUM_WORST, NUM_PICTURES = 8, 6
# Keys of ``run`` in a results file and what people call them.
_ORIGIN = {
    'config': 'Config',
    'checkpoint': 'Checkpoint',
    'ann_file': 'Annotations',
    'date': 'Tested',
}


def write_page(
    out_file: Union[str, Path],
    figures: BoxClsFigures,
    source: str,
    num_pairs: int = 20,
    min_boxes: int = 5,
) -> None:
    """Write the page.

    Args:
        out_file (str | Path): The file; its folder is made.
        figures (BoxClsFigures): What it tells.
        source (str): Where the predictions come from, told on the page.
        num_pairs (int): Number of confused pairs. Defaults to 20.
        min_boxes (int): Classes of fewer boxes are not among the worst,
            unless all classes have fewer. Defaults to 5.
    """
    min_boxes = min(min_boxes, max(c.boxes for c in figures.classes.values()))
    run = figures.records[0]['run']
    save_page(
        out_file,
        Path(__file__).parent,
        'Box classification',
        source,
        origin={_ORIGIN[key]: run[key] for key in _ORIGIN if run.get(key)},
        figures=figures,
        size_chart=size_chart(figures.fine_sizes()),
        reliability_chart=reliability_chart(figures.calibration),
        worst=figures.worst(NUM_WORST, min_boxes),
        thumbnail=box_thumbnail,
        min_boxes=min_boxes,
        num_pairs=num_pairs,
        num_pictures=NUM_PICTURES,
    )
