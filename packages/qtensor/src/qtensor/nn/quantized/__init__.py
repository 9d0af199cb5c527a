"""Modules on quantized tensors."""

from . import dynamic as dynamic
from . import reference as reference
from ._base import OutputModule as OutputModule
from ._conv import Conv2d as Conv2d
from ._conversions import DeQuantize as DeQuantize
from ._conversions import Quantize as Quantize
from ._conversions import ReLU6 as ReLU6
from ._embedding import Embedding as Embedding
from ._functional import FloatFunctional as FloatFunctional
from ._functional import FXFloatFunctional as FXFloatFunctional
from ._functional import QFunctional as QFunctional
from ._linear import Linear as Linear
