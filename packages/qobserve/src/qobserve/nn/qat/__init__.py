"""Float modules that train with their weights fake-quantized."""

from . import dynamic as dynamic
from ._conv import Conv1d as Conv1d
from ._conv import Conv2d as Conv2d
from ._conv import Conv3d as Conv3d
from ._embedding import Embedding as Embedding
from ._embedding import EmbeddingBag as EmbeddingBag
from ._linear import Linear as Linear
