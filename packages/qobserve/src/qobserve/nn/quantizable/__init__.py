"""Float modules taken apart, so that every operator in them can be observed and then quantized."""

from ._attention import MultiheadAttention as MultiheadAttention
from ._lstm import LSTM as LSTM
from ._lstm import LSTMCell as LSTMCell
