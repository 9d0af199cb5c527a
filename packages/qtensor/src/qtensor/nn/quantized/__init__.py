"""Modules on quantized tensors."""

from . import dynamic as dynamic
from . import functional as functional
from . import reference as reference
from . import weight_only as weight_only
from ._activations import ELU as ELU
from ._activations import Hardswish as Hardswish
from ._activations import LeakyReLU as LeakyReLU
from ._activations import PReLU as PReLU
from ._activations import ReLU6 as ReLU6
from ._activations import Sigmoid as Sigmoid
from ._activations import Softmax as Softmax
from ._base import OutputModule as OutputModule
from ._base import float_form as float_form
from ._conv import Conv2d as Conv2d
from ._conversions import DeQuantize as DeQuantize
from ._conversions import Quantize as Quantize
from ._dropout import Dropout as Dropout
from ._embedding import Embedding as Embedding
from ._functional import FloatFunctional as FloatFunctional
from ._functional import FXFloatFunctional as FXFloatFunctional
from ._functional import QFunctional as QFunctional
from ._linear import Linear as Linear
