"""What a caller may say about a model besides which qconfig applies where."""

from dataclasses import dataclass
from typing import Any, Self

from qobserve import QConfigMapping

from ._backend_config import BackendConfig
from ._quant_type import QuantType


@dataclass
class StandaloneModuleConfigEntry:
    """How a standalone module is prepared; ``None`` means as the model around it is."""

    qconfig_mapping: QConfigMapping | None
    example_inputs: tuple[Any, ...]
    prepare_custom_config: "PrepareCustomConfig | None"
    backend_config: BackendConfig | None


class _CustomConfig:
    """What the three configs share: a readable repr and refusing unknown dictionary keys."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({ {k: v for k, v in self.__dict__.items() if v} })"

    @classmethod
    def _checked(cls, given: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
        unknown = given.keys() - set(known)
        if unknown:
            raise ValueError(
                f"expected the keys of a {cls.__name__} to be among {list(known)}, "
                f"got {sorted(unknown)}"
            )
        return given


class PrepareCustomConfig(_CustomConfig):
    """Which modules are left alone, swapped or prepared on their own, and what stays quantized.

    Example:
        >>> config = PrepareCustomConfig().set_non_traceable_module_names(["decoder"])
        >>> config.non_traceable_module_names
        ['decoder']
    """

    def __init__(self) -> None:
        self.standalone_module_names: dict[str, StandaloneModuleConfigEntry] = {}
        self.standalone_module_classes: dict[type, StandaloneModuleConfigEntry] = {}
        self.float_to_observed_mapping: dict[QuantType, dict[type, type]] = {}
        self.non_traceable_module_names: list[str] = []
        self.non_traceable_module_classes: list[type] = []
        self.input_quantized_indexes: list[int] = []
        self.output_quantized_indexes: list[int] = []
        self.preserved_attributes: list[str] = []

    def set_standalone_module_name(
        self,
        module_name: str,
        qconfig_mapping: QConfigMapping | None,
        example_inputs: tuple[Any, ...],
        prepare_custom_config: "PrepareCustomConfig | None",
        backend_config: BackendConfig | None,
    ) -> Self:
        """Prepare the module called ``module_name`` on its own, as one unit.

        The entry's ``input_quantized_indexes`` and ``output_quantized_indexes`` say which of its
        inputs arrive, and which outputs leave, in quantized form.
        """
        self.standalone_module_names[module_name] = StandaloneModuleConfigEntry(
            qconfig_mapping, example_inputs, prepare_custom_config, backend_config
        )
        return self

    def set_standalone_module_class(
        self,
        module_class: type,
        qconfig_mapping: QConfigMapping | None,
        example_inputs: tuple[Any, ...],
        prepare_custom_config: "PrepareCustomConfig | None",
        backend_config: BackendConfig | None,
    ) -> Self:
        """Prepare every module of ``module_class`` on its own, as by name."""
        self.standalone_module_classes[module_class] = StandaloneModuleConfigEntry(
            qconfig_mapping, example_inputs, prepare_custom_config, backend_config
        )
        return self

    def set_float_to_observed_mapping(
        self,
        float_class: type,
        observed_class: type,
        quant_type: QuantType = QuantType.STATIC,
    ) -> Self:
        """Swap modules of ``float_class`` for ``observed_class.from_float(module)``.

        Raises:
            ValueError: a quantization type other than static, for which nothing is observed.
        """
        if quant_type is not QuantType.STATIC:
            raise ValueError(f"expected QuantType.STATIC, got {quant_type!r}")
        self.float_to_observed_mapping.setdefault(quant_type, {})[float_class] = observed_class
        return self

    def set_non_traceable_module_names(self, module_names: list[str]) -> Self:
        """Leave the modules with these names as they are."""
        self.non_traceable_module_names = module_names
        return self

    def set_non_traceable_module_classes(self, module_classes: list[type]) -> Self:
        """Leave the modules of these classes as they are."""
        self.non_traceable_module_classes = module_classes
        return self

    def set_input_quantized_indexes(self, indexes: list[int]) -> Self:
        """Take the inputs at these positions in quantized form (default: none)."""
        self.input_quantized_indexes = indexes
        return self

    def set_output_quantized_indexes(self, indexes: list[int]) -> Self:
        """Give the outputs at these positions in quantized form (default: none)."""
        self.output_quantized_indexes = indexes
        return self

    def set_preserved_attributes(self, attributes: list[str]) -> Self:
        """Keep these attributes of the model, though ``forward`` does not use them."""
        self.preserved_attributes = attributes
        return self

    @classmethod
    def from_dict(cls, prepare_custom_config_dict: dict[str, Any]) -> Self:
        """The config that a legacy dictionary describes (:meth:`to_dict` writes one).

        Raises:
            ValueError: an unknown key.
        """
        given = cls._checked(
            prepare_custom_config_dict, (*_STANDALONE, _FLOAT_TO_OBSERVED, *_PREPARE_LISTS)
        )
        config = cls()
        for key, attribute in _STANDALONE.items():
            for which, *entry in given.get(key, []):
                getattr(config, attribute)[which] = _standalone_entry(*entry)
        for key, mapping in given.get(_FLOAT_TO_OBSERVED, {}).items():
            for float_class, observed_class in mapping.items():
                config.set_float_to_observed_mapping(
                    float_class, observed_class, QuantType.from_key(key)
                )
        for key, attribute in _PREPARE_LISTS.items():
            setattr(config, attribute, _listed(given.get(key, [])))
        return config

    def to_dict(self) -> dict[str, Any]:
        """A dictionary under the legacy keys, without what is empty."""
        config: dict[str, Any] = {
            key: [
                (
                    which,
                    entry.qconfig_mapping and entry.qconfig_mapping.to_dict(),
                    entry.example_inputs,
                    entry.prepare_custom_config and entry.prepare_custom_config.to_dict(),
                    entry.backend_config,
                )
                for which, entry in getattr(self, attribute).items()
            ]
            for key, attribute in _STANDALONE.items()
        }
        config[_FLOAT_TO_OBSERVED] = _by_key(self.float_to_observed_mapping)
        config |= {key: getattr(self, attribute) for key, attribute in _PREPARE_LISTS.items()}
        return {key: value for key, value in config.items() if value}


class ConvertCustomConfig(_CustomConfig):
    """Which observed modules become which quantized ones, and which attributes stay.

    Example:
        >>> ConvertCustomConfig().set_preserved_attributes(["classes"]).to_dict()
        {'preserved_attributes': ['classes']}
    """

    def __init__(self) -> None:
        self.observed_to_quantized_mapping: dict[QuantType, dict[type, type]] = {}
        self.preserved_attributes: list[str] = []

    def set_observed_to_quantized_mapping(
        self,
        observed_class: type,
        quantized_class: type,
        quant_type: QuantType = QuantType.STATIC,
    ) -> Self:
        """Swap modules of ``observed_class`` for ``quantized_class.from_observed(module)``."""
        mapping = self.observed_to_quantized_mapping.setdefault(quant_type, {})
        mapping[observed_class] = quantized_class
        return self

    def set_preserved_attributes(self, attributes: list[str]) -> Self:
        """Keep these attributes of the model, though ``forward`` does not use them."""
        self.preserved_attributes = attributes
        return self

    @classmethod
    def from_dict(cls, convert_custom_config_dict: dict[str, Any]) -> Self:
        """The config that a legacy dictionary describes.

        Raises:
            ValueError: an unknown key.
        """
        given = cls._checked(convert_custom_config_dict, (_OBSERVED_TO_QUANTIZED, _PRESERVED))
        config = cls().set_preserved_attributes(list(given.get(_PRESERVED, [])))
        for key, mapping in given.get(_OBSERVED_TO_QUANTIZED, {}).items():
            for observed_class, quantized_class in mapping.items():
                config.set_observed_to_quantized_mapping(
                    observed_class, quantized_class, QuantType.from_key(key)
                )
        return config

    def to_dict(self) -> dict[str, Any]:
        """A dictionary under the legacy keys, without what is empty."""
        config = {
            _OBSERVED_TO_QUANTIZED: _by_key(self.observed_to_quantized_mapping),
            _PRESERVED: self.preserved_attributes,
        }
        return {key: value for key, value in config.items() if value}


class FuseCustomConfig(_CustomConfig):
    """Which attributes stay when a model is only fused.

    Example:
        >>> FuseCustomConfig().set_preserved_attributes(["classes"]).preserved_attributes
        ['classes']
    """

    def __init__(self) -> None:
        self.preserved_attributes: list[str] = []

    def set_preserved_attributes(self, attributes: list[str]) -> Self:
        """Keep these attributes of the model, though ``forward`` does not use them."""
        self.preserved_attributes = attributes
        return self

    @classmethod
    def from_dict(cls, fuse_custom_config_dict: dict[str, Any]) -> Self:
        """The config that a legacy dictionary describes.

        Raises:
            ValueError: an unknown key.
        """
        given = cls._checked(fuse_custom_config_dict, (_PRESERVED,))
        return cls().set_preserved_attributes(list(given.get(_PRESERVED, [])))

    def to_dict(self) -> dict[str, Any]:
        """A dictionary under the legacy keys, without what is empty."""
        return {_PRESERVED: self.preserved_attributes} if self.preserved_attributes else {}


_PRESERVED = "preserved_attributes"
_FLOAT_TO_OBSERVED = "float_to_observed_custom_module_class"
_OBSERVED_TO_QUANTIZED = "observed_to_quantized_custom_module_class"
_STANDALONE = {
    "standalone_module_name": "standalone_module_names",
    "standalone_module_class": "standalone_module_classes",
}
_PREPARE_LISTS = {
    "non_traceable_module_name": "non_traceable_module_names",
    "non_traceable_module_class": "non_traceable_module_classes",
    "input_quantized_idxs": "input_quantized_indexes",
    "output_quantized_idxs": "output_quantized_indexes",
    _PRESERVED: _PRESERVED,
}


def _listed(value: Any) -> list[Any]:
    """``value`` as a list; a name alone, as the tutorials have it, is one entry."""
    return [value] if isinstance(value, str) else list(value)


def _standalone_entry(
    qconfig_mapping: Any, example_inputs: Any, custom_config: Any, backend_config: Any
) -> StandaloneModuleConfigEntry:
    return StandaloneModuleConfigEntry(
        _from_dict(QConfigMapping, qconfig_mapping),
        example_inputs,
        _from_dict(PrepareCustomConfig, custom_config),
        _from_dict(BackendConfig, backend_config),
    )


def _from_dict(kind: Any, given: Any) -> Any:
    return kind.from_dict(given) if isinstance(given, dict) else given


def _by_key(mappings: dict[QuantType, dict[type, type]]) -> dict[str, dict[type, type]]:
    return {quant_type.key: mapping for quant_type, mapping in mappings.items()}
