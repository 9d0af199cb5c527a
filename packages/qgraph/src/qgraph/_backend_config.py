"""The schema of a backend: what it can quantize, one row per operator.

A backend is data. Each :class:`BackendPatternConfig` is one row and says everything there is to
say about one operator (or one fused sequence of operators); :class:`BackendConfig` is the table.
The legacy setters are all here, under their names; the others make it unnecessary to describe
the operator in a second place.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Self

from torch import nn

from qtensor import QDType, QParams

from ._dtype_config import DTypeConfig

Pattern = Any
"""A module class, a function, a method's name, or a tuple of these: a sequence to be fused."""


class ObservationType(Enum):
    """Where the quantization parameters of an operator's output come from."""

    OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT = 0
    """The output has an observer of its own (linear, conv, add)."""

    OUTPUT_SHARE_OBSERVER_WITH_INPUT = 1
    """The output has the parameters of the input (pooling, reshape, cat)."""

    INPUT_OUTPUT_NOT_OBSERVED = 2
    """Neither is quantized (an embedding reads indices and gives floats)."""


class BackendPatternConfig:
    """One row of a backend: an operator, or a sequence of operators fused into one.

    Every setter returns the row, so that calls chain. Attributes have the setters' names without
    ``set_`` and are ``None`` (or empty) until set.

    Args:
        pattern: a module class, a function, a method's name, or a tuple of them. An element of a
            tuple stands for every spelling that the element's own row lists, so
            ``(nn.Conv2d, nn.ReLU)`` also matches ``F.relu(conv(x))`` and ``conv(x).relu()``.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> row = BackendPatternConfig(nn.ReLU).set_spellings(torch.relu, "relu")
        >>> row.spellings == (nn.ReLU, torch.relu, "relu")
        True
    """

    def __init__(self, pattern: Pattern | None = None) -> None:
        self.pattern = pattern
        self.observation_type = ObservationType.OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT
        self.dtype_configs: list[DTypeConfig] = []
        self.root_module: type[nn.Module] | None = None
        self.qat_module: type[nn.Module] | None = None
        self.reference_quantized_module: type[nn.Module] | None = None
        self.fused_module: type[nn.Module] | None = None
        self.fuser_method: Callable[..., nn.Module] | None = None
        self.other_spellings: tuple[Pattern, ...] = ()
        self.fused_as: Pattern = None
        self.fused_function: Callable[..., Any] | None = None
        self.module_from_call: Callable[..., nn.Module] | None = None
        self.refuse: Callable[..., str | None] | None = None
        self.num_tensor_args_to_observation_type: dict[int, ObservationType] = {}
        self.input_ranks: tuple[int, ...] = ()
        self.float_arguments: tuple[int | str, ...] = ()
        self.observed_module: type[nn.Module] | None = None
        self.quantized_module: type[nn.Module] | None = None
        self.quantized_function: Callable[..., Any] | None = None
        self.requantizing_function: Callable[..., Any] | None = None
        self.dynamic_module: type[nn.Module] | None = None
        self.dynamic_qat_module: type[nn.Module] | None = None
        self.weight_only_module: type[nn.Module] | None = None
        self.weight_axis: int = 0
        self.fixed_range: tuple[float, float] | None = None

    @property
    def spellings(self) -> tuple[Pattern, ...]:
        """Every way of writing this operator: pattern, fused form, and the other spellings."""
        written = (self.pattern, self.fused_module, self.fused_function, *self.other_spellings)
        if isinstance(self.pattern, tuple):
            written = written[1:]
        return tuple(dict.fromkeys(way for way in written if way is not None))

    @property
    def observes_itself(self) -> bool:
        """Whether the observed module has observers on its parts, and none on its output."""
        return bool(getattr(self.observed_module, "observes_itself", False))

    def observation_type_of(self, tensors: int) -> ObservationType | None:
        """Where the output's parameters come from if the operator reads so many float tensors.

        ``None``: it has no quantized form then.
        """
        by_number = self.num_tensor_args_to_observation_type
        return by_number.get(tensors) if by_number else self.observation_type

    def fixed_qparams(self, dtype: QDType, quant_min: int, quant_max: int) -> QParams | None:
        """The output's parameters on these integers, where its range is known beforehand."""
        if self.fixed_range is None:
            return None
        low, high = self.fixed_range
        scale = (high - low) / (quant_max - quant_min + 1)
        return QParams(scale, quant_min + round(-low / scale), dtype, None, quant_min, quant_max)

    def fuse(self, is_qat: bool, *parts: Any, label: str = "") -> nn.Module:
        """The module that a sequence becomes.

        Args:
            is_qat: whether it is for quantization-aware training.
            parts: the modules of the sequence in order; functions without a module form as such.
            label: what messages call the first of them.

        Raises:
            ValueError: a part is in training mode, though statistics are to be folded; or the row
                does not say how to fuse.
        """
        first = f"{label} ({type(parts[0]).__name__})" if label else type(parts[0]).__name__
        if self.fuser_method is not None:
            training = any(isinstance(part, nn.Module) and part.training for part in parts)
            if training and not is_qat:
                raise ValueError(
                    f"expected a model in eval mode, got {first} in training mode; call "
                    "model.eval() first"
                )
            return self.fuser_method(is_qat, *parts)
        if self.fused_module is None:
            raise ValueError(
                f"row {self.pattern}, which {first} begins, needs a fused module or fuser method"
            )
        return self.fused_module(*parts)

    # The setters with legacy names.

    def set_pattern(self, pattern: Pattern) -> Self:
        """Set the pattern, as the constructor does."""
        self.pattern = pattern
        return self

    def set_observation_type(self, observation_type: ObservationType) -> Self:
        """Set where the output's parameters come from (default: an observer of its own)."""
        self.observation_type = observation_type
        return self

    def add_dtype_config(self, dtype_config: DTypeConfig) -> Self:
        """Add one supported combination of dtypes."""
        self.dtype_configs.append(dtype_config)
        return self

    def set_dtype_configs(self, dtype_configs: Iterable[DTypeConfig]) -> Self:
        """Set the supported combinations of dtypes; earlier ones are preferred."""
        self.dtype_configs = list(dtype_configs)
        return self

    def set_root_module(self, root_module: type[nn.Module]) -> Self:
        """Set the float class that holds the weight (default: the first module of the pattern)."""
        self.root_module = root_module
        return self

    def set_qat_module(self, qat_module: type[nn.Module]) -> Self:
        """Set the class that stands in for this pattern in quantization-aware training."""
        self.qat_module = qat_module
        return self

    def set_reference_quantized_module(self, module: type[nn.Module]) -> Self:
        """Set the class that computes in float on quantized weights.

        It answers ``from_float(float_module, weight_qparams)``.
        """
        self.reference_quantized_module = module
        return self

    def set_fused_module(self, fused_module: type[nn.Module]) -> Self:
        """Set the float class that a sequence of modules becomes."""
        self.fused_module = fused_module
        return self

    def set_fuser_method(self, fuser_method: Callable[..., nn.Module]) -> Self:
        """Set what builds the fused module: ``fuser_method(is_qat, *modules_of_the_sequence)``.

        Functions of the sequence without a module form (``torch.add``) are passed as they are.
        Default: ``fused_module(*modules)``.
        """
        self.fuser_method = fuser_method
        return self

    # The rest of what there is to say about an operator.

    def set_spellings(self, *spellings: Pattern) -> Self:
        """Set the other ways of writing the operator: functions, methods' names, module classes.

        In-place forms (``"relu_"``, ``operator.iadd``, ``inplace=True``) need no mention: the graph
        is rewritten without them first.
        """
        self.other_spellings = spellings
        return self

    def set_fused_as(self, pattern: Pattern) -> Self:
        """Set the operator that this one counts as in sequences that do not name it itself.

        A ReLU6 is a Hardtanh, so it fuses wherever a Hardtanh does. ``module_from_call`` makes a
        module of that class. Default: none.
        """
        self.fused_as = pattern
        return self

    def set_fused_function(self, function: Callable[..., Any]) -> Self:
        """Set the float function that a sequence of functions becomes (``add``, ``relu``)."""
        self.fused_function = function
        return self

    def set_module_from_call(self, build: Callable[..., nn.Module]) -> Self:
        """Set what makes a module of a call to one of the functions this row lists.

        It is called with the call's own arguments: parameters in place of the nodes that fetch
        them, and ``None`` for the activation, always the first.
        """
        self.module_from_call = build
        return self

    def set_refusal(self, refuse: Callable[..., str | None]) -> Self:
        """Set what knows the calls that cannot be quantized: ``refuse(module, args, kwargs)``.

        ``module`` is ``None`` for functions and methods. It returns the reason, or ``None``.
        """
        self.refuse = refuse
        return self

    def set_num_tensor_args_to_observation_type(
        self, num_tensor_args_to_observation_type: dict[int, ObservationType]
    ) -> Self:
        """Set how many float tensors the operator may read, and for each number, in place of
        ``observation_type``, where the output's parameters come from then.

        Default: any number from one. Addition reads two, or one and a number.
        """
        self.num_tensor_args_to_observation_type = dict(num_tensor_args_to_observation_type)
        return self

    def set_input_ranks(self, *ranks: int) -> Self:
        """Set how many dimensions the first input may have (default: any number)."""
        self.input_ranks = ranks
        return self

    def set_float_arguments(self, *arguments: int | str) -> Self:
        """Set which arguments, by position and by name, are read as they are (default: none).

        Such as the mask of attention, whose ``-inf`` no integers stand for.
        """
        self.float_arguments = arguments
        return self

    def set_observed_module(self, observed_module: type[nn.Module]) -> Self:
        """Set the class calibrated in place of the float one (``from_float(float_module)``).

        The quantized module is then made by ``from_observed(observed_module)``. A class with a true
        attribute ``observes_itself`` has observers on its parts; its output, which may be a
        structure of tensors, gets none, and brings its parameters along once it is quantized.
        """
        self.observed_module = observed_module
        return self

    def set_quantized_module(self, module: type[nn.Module]) -> Self:
        """Set the statically quantized class.

        It answers ``from_reference(reference_module, output_scale, output_zero_point,
        output_qparams=QParams)``, or in a row with an observed module ``from_observed``; of an
        operator that shares its input's parameters, and works on integers without it too,
        ``from_float(module)``.
        """
        self.quantized_module = module
        return self

    def set_quantized_function(self, function: Callable[..., Any]) -> Self:
        """Set the quantized function, called as the float one is, with the output's parameters.

        These come as a keyword: ``function(*args, **kwargs, output=QParams)``. An operator that
        shares its input's parameters gets no such keyword, and needs a function only where the
        float one does not work on quantized tensors.
        """
        self.quantized_function = function
        return self

    def set_requantizing_function(self, function: Callable[..., Any]) -> Self:
        """Set what an operator that shares parameters is where its inputs have different ones.

        It is called as a ``quantized_function`` of an operator with parameters of its own is.
        Without one, the operator is left in float there.
        """
        self.requantizing_function = function
        return self

    def set_dynamic_module(self, module: type[nn.Module]) -> Self:
        """Set the dynamically quantized class.

        It answers ``from_reference(reference_module)``, and with ``reduce_range=True`` where the
        qconfig asks for activations of 7 bits.
        """
        self.dynamic_module = module
        return self

    def set_dynamic_qat_module(self, module: type[nn.Module]) -> Self:
        """Set the class that trains for dynamic quantization (default: the QAT module)."""
        self.dynamic_qat_module = module
        return self

    def set_weight_only_module(self, module: type[nn.Module]) -> Self:
        """Set the class with quantized weights only (``from_reference(reference_module)``)."""
        self.weight_only_module = module
        return self

    def set_weight_axis(self, axis: int) -> Self:
        """Set the axis of the weight that holds output channels (default 0)."""
        self.weight_axis = axis
        return self

    def set_fixed_range(self, low: float, high: float) -> Self:
        """Set the range of the output, where it is known beforehand: ``low <= output < high``.

        Its parameters follow: all integers of the qconfig, evenly from ``low`` on.
        """
        self.fixed_range = (low, high)
        return self

    @classmethod
    def from_dict(cls, backend_pattern_config_dict: dict[str, Any]) -> Self:
        """The row that :meth:`to_dict` wrote; dtype configs may be dictionaries too.

        Raises:
            ValueError: an unknown key.
        """
        row = cls()
        for key, value in backend_pattern_config_dict.items():
            attribute = _LEGACY_KEYS.get(key, key)
            if attribute not in row.__dict__:
                raise ValueError(f"expected keys among {_keys(row)}, got {key!r}")
            setattr(row, attribute, value)
        given: list[Any] = row.dtype_configs
        row.dtype_configs = [
            DTypeConfig.from_dict(config) if isinstance(config, dict) else config
            for config in given
        ]
        return row

    def to_dict(self) -> dict[str, Any]:
        """A dictionary of everything that was set, under the legacy keys where there are any."""
        names = {attribute: key for key, attribute in _LEGACY_KEYS.items()}
        fresh = BackendPatternConfig()
        row = {
            names.get(attribute, attribute): value
            for attribute, value in self.__dict__.items()
            if value != getattr(fresh, attribute)
        }
        row["observation_type"] = self.observation_type
        row["dtype_configs"] = [config.to_dict() for config in self.dtype_configs]
        return row

    def __repr__(self) -> str:
        return f"BackendPatternConfig({self.to_dict()})"


_LEGACY_KEYS = {"reference_quantized_module_for_root": "reference_quantized_module"}


def _keys(row: BackendPatternConfig) -> list[str]:
    return sorted([*row.__dict__, *_LEGACY_KEYS])


class BackendConfig:
    """A backend: a name and its rows.

    Args:
        name: what messages and reports call it.

    Example:
        >>> from torch import nn
        >>> row = BackendPatternConfig(nn.ReLU)
        >>> backend = BackendConfig("mine").set_backend_pattern_config(row)
        >>> [row.pattern.__name__ for row in backend.configs]
        ['ReLU']
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._rows: dict[Pattern, BackendPatternConfig] = {}

    @property
    def configs(self) -> list[BackendPatternConfig]:
        """The rows, in the order in which they were set."""
        return list(self._rows.values())

    def set_name(self, name: str) -> Self:
        """Set the name."""
        self.name = name
        return self

    def set_backend_pattern_config(self, config: BackendPatternConfig) -> Self:
        """Add a row, in place of any with the same pattern.

        Raises:
            ValueError: the row has no pattern.
        """
        if config.pattern is None:
            raise ValueError("expected a row with a pattern, got one without; call set_pattern")
        self._rows[config.pattern] = config
        return self

    def set_backend_pattern_configs(self, configs: Iterable[BackendPatternConfig]) -> Self:
        """Add several rows."""
        for config in configs:
            self.set_backend_pattern_config(config)
        return self

    @classmethod
    def from_dict(cls, backend_config_dict: dict[str, Any]) -> Self:
        """The backend that :meth:`to_dict` wrote; rows may be dictionaries or rows.

        Raises:
            ValueError: an unknown key, here or in a row.
        """
        unknown = backend_config_dict.keys() - {"name", "configs"}
        if unknown:
            raise ValueError(f"expected the keys 'name' and 'configs', got {sorted(unknown)}")
        rows = backend_config_dict.get("configs", [])
        return cls(backend_config_dict.get("name", "")).set_backend_pattern_configs(
            BackendPatternConfig.from_dict(row) if isinstance(row, dict) else row for row in rows
        )

    def to_dict(self) -> dict[str, Any]:
        """A dictionary with the keys ``"name"`` and ``"configs"``."""
        return {"name": self.name, "configs": [row.to_dict() for row in self.configs]}

    def __repr__(self) -> str:
        return f"BackendConfig({self.name!r}, {len(self._rows)} rows)"
