"""Float modules that compute with quantized-dequantized weights: what a backend starts from."""

from ._modules import Conv2d as Conv2d
from ._modules import Embedding as Embedding
from ._modules import Linear as Linear
from ._modules import ReferenceModule as ReferenceModule
