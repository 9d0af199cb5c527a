"""Float modules taken apart, so that every operator in them can be observed and then quantized."""

from ._lstm import LSTM as LSTM
from ._lstm import LSTMCell as LSTMCell
