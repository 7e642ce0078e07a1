"""Drawing of regions with their phrases."""

from .drawing import draw_caption, draw_regions
from .region_text_visualizer import RegionTextVisualizer

__all__ = ['RegionTextVisualizer', 'draw_caption', 'draw_regions']
