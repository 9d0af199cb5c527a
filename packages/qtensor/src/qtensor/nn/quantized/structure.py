"""Modules taken apart: what the observed forms of qobserve and the quantized ones share.

Their operators are modules, under the same names in both, so that each can be observed and then
be replaced by its quantized form.
"""

from ._attention_structure import MultiheadAttentionBase as MultiheadAttentionBase
from ._lstm_structure import LSTMBase as LSTMBase
from ._lstm_structure import LSTMCellBase as LSTMCellBase
from ._lstm_structure import State as State
