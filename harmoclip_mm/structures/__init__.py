"""What datasets give and models take."""

from .packed_list import PackedList

__all__ = ['PackedList']
