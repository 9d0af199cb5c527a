"""Float modules that compute with quantized-dequantized weights: what a backend starts from."""

from ._conv import Conv1d as Conv1d
from ._conv import Conv2d as Conv2d
from ._conv import Conv3d as Conv3d
from ._conv import ConvTranspose1d as ConvTranspose1d
from ._conv import ConvTranspose2d as ConvTranspose2d
from ._conv import ConvTranspose3d as ConvTranspose3d
from ._modules import Embedding as Embedding
from ._modules import EmbeddingBag as EmbeddingBag
from ._modules import Linear as Linear
from ._modules import ReferenceModule as ReferenceModule
