"""What a calibration reads from a float tensor, its range and its histogram, each in one pass; and
the quantization parameters that follow from a range."""

from ._ops.running_range import RangeRule as RangeRule
from ._ops.running_range import RangeScheme as RangeScheme
from ._ops.running_range import affine_parameters as affine_parameters
from ._ops.running_range import follow_range as follow_range
from ._ops.running_range import observe_range as observe_range
from ._ops.statistics import aminmax as aminmax
from ._ops.statistics import aminmax_per_channel as aminmax_per_channel
from ._ops.statistics import count_bins as count_bins
