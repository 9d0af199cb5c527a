"""Tracing, graph passes and the schema of a backend. See README.md."""

from ._backend_config import BackendConfig as BackendConfig
from ._backend_config import BackendPatternConfig as BackendPatternConfig
from ._backend_config import ObservationType as ObservationType
from ._backend_config import Pattern as Pattern
from ._convert import convert as convert
from ._custom_config import ConvertCustomConfig as ConvertCustomConfig
from ._custom_config import FuseCustomConfig as FuseCustomConfig
from ._custom_config import PrepareCustomConfig as PrepareCustomConfig
from ._custom_config import StandaloneModuleConfigEntry as StandaloneModuleConfigEntry
from ._dtype_config import DTypeConfig as DTypeConfig
from ._dtype_config import DTypeWithConstraints as DTypeWithConstraints
from ._fixed_output import fixed_output as fixed_output
from ._observer_spec import ObserverSpec as ObserverSpec
from ._plan import Decision as Decision
from ._plan import NodePlan as NodePlan
from ._plan import ObserverPlan as ObserverPlan
from ._plan import Plan as Plan
from ._prepare import fuse as fuse
from ._prepare import prepare as prepare
from ._quant_type import QuantType as QuantType
from ._quantized import QuantizedFunction as QuantizedFunction
from ._rows import Rows as Rows
from ._state import plan_of as plan_of
from ._tracer import QuantizationTracer as QuantizationTracer
from ._tracer import Untraceable as Untraceable
from ._tracer import UntraceableError as UntraceableError
