"""Torch's functions on a QTensor that need integer arithmetic of their own.

Importing this package registers them.
"""

from . import activations as activations
from . import comparing as comparing
from . import conversions as conversions
from . import moving as moving
from . import pooling as pooling
from . import resizing as resizing
from . import shuffling as shuffling
from . import writing as writing
