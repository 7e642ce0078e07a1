"""Drawing of regions with their phrases."""

from .region_text_visualizer import RegionTextVisualizer

__all__ = ['RegionTextVisualizer']
