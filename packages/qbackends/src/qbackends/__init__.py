"""The backends as data: one table of rows, and what derives from it. See README.md."""

from ._backends import get_backend_config as get_backend_config
from ._backends import get_fbgemm_backend_config as get_fbgemm_backend_config
from ._backends import get_onednn_backend_config as get_onednn_backend_config
from ._backends import get_qnnpack_backend_config as get_qnnpack_backend_config
from ._backends import get_x86_backend_config as get_x86_backend_config
from ._backends import with_activations as with_activations
from ._derived import dynamic_module_mapping as dynamic_module_mapping
from ._derived import dynamic_qat_module_mapping as dynamic_qat_module_mapping
from ._derived import observed_module_mapping as observed_module_mapping
from ._derived import observed_types as observed_types
from ._derived import qat_module_mapping as qat_module_mapping
from ._derived import reference_module_mapping as reference_module_mapping
from ._derived import static_module_mapping as static_module_mapping
from ._derived import support_matrix as support_matrix
from ._derived import table_module_mapping as table_module_mapping
from ._derived import weight_only_module_mapping as weight_only_module_mapping
from ._native import get_native_backend_config as get_native_backend_config
