"""What a calibration reads from a float tensor: its range and its histogram, each in one pass."""

from ._ops.statistics import aminmax as aminmax
from ._ops.statistics import aminmax_per_channel as aminmax_per_channel
from ._ops.statistics import count_bins as count_bins
