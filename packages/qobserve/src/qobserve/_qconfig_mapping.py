"""QConfigMapping: which QConfig applies to which part of a model."""

from collections.abc import Callable
from typing import Any, Self

from ._qconfig import QConfigAny

ObjectType = type | Callable[..., Any] | str


def _checked(qconfig: Any) -> QConfigAny:
    if qconfig is not None and not (hasattr(qconfig, "activation") and hasattr(qconfig, "weight")):
        given = f"the class {qconfig.__name__}" if isinstance(qconfig, type) else repr(qconfig)
        raise TypeError(
            "expected a QConfig, such as QConfig(activation=…, weight=…), or None to leave it in "
            f"float, got {given}"
        )
    checked: QConfigAny = qconfig
    return checked


class QConfigMapping:
    """Says for every part of a model which :class:`QConfig` it gets; ``None`` leaves it in float.

    A part may be chosen in five ways, each stronger than the ones before it: everything
    (:meth:`set_global`), a module type, function or method name (:meth:`set_object_type`), a
    pattern for module names (:meth:`set_module_name_regex`), a module name
    (:meth:`set_module_name`), and the n-th use of a type within a module
    (:meth:`set_module_name_object_type_order`). All methods return the mapping, so that they can
    be chained; they raise ``TypeError`` for what is no QConfig.

    Attributes:
        global_qconfig: what applies where nothing else does.
        object_type_qconfigs, module_name_regex_qconfigs, module_name_qconfigs,
        module_name_object_type_order_qconfigs: dictionaries, in the order things were set.

    Example:
        >>> import torch
        >>> from qobserve import QConfigMapping, get_default_qconfig
        >>> mapping = (
        ...     QConfigMapping()
        ...     .set_global(get_default_qconfig("x86"))
        ...     .set_object_type(torch.nn.Sigmoid, None)
        ...     .set_module_name("head", None)
        ... )
        >>> mapping.module_name_qconfigs
        {'head': None}
    """

    def __init__(self) -> None:
        self.global_qconfig: QConfigAny = None
        self.object_type_qconfigs: dict[ObjectType, QConfigAny] = {}
        self.module_name_regex_qconfigs: dict[str, QConfigAny] = {}
        self.module_name_qconfigs: dict[str, QConfigAny] = {}
        self.module_name_object_type_order_qconfigs: dict[
            tuple[str, ObjectType, int], QConfigAny
        ] = {}

    def set_global(self, global_qconfig: QConfigAny) -> Self:
        """Apply to everything that nothing else applies to."""
        self.global_qconfig = _checked(global_qconfig)
        return self

    def set_object_type(self, object_type: ObjectType, qconfig: QConfigAny) -> Self:
        """Apply to every use of a module type, a function, or a method given by name."""
        self.object_type_qconfigs[object_type] = _checked(qconfig)
        return self

    def set_module_name_regex(self, module_name_regex: str, qconfig: QConfigAny) -> Self:
        """Apply to modules whose qualified name matches from its beginning on.

        The first pattern set that matches counts, so set the more specific ones first.
        """
        self.module_name_regex_qconfigs[module_name_regex] = _checked(qconfig)
        return self

    def set_module_name(self, module_name: str, qconfig: QConfigAny) -> Self:
        """Apply to the module of this qualified name, and to all inside it."""
        self.module_name_qconfigs[module_name] = _checked(qconfig)
        return self

    def set_module_name_object_type_order(
        self, module_name: str, object_type: ObjectType, index: int, qconfig: QConfigAny
    ) -> Self:
        """Apply to use number ``index``, from 0, of a type within the module of this name."""
        key = module_name, object_type, index
        self.module_name_object_type_order_qconfigs[key] = _checked(qconfig)
        return self

    def to_dict(self) -> dict[str, Any]:
        """The same as a dictionary of lists; :meth:`from_dict` reads it."""
        return {
            "": self.global_qconfig,
            "object_type": list(self.object_type_qconfigs.items()),
            "module_name_regex": list(self.module_name_regex_qconfigs.items()),
            "module_name": list(self.module_name_qconfigs.items()),
            "module_name_object_type_order": [
                (*where, qconfig)
                for where, qconfig in self.module_name_object_type_order_qconfigs.items()
            ],
        }

    @classmethod
    def from_dict(cls, qconfig_dict: dict[str, Any]) -> Self:
        """A mapping from the dictionary form used before there was this class.

        Args:
            qconfig_dict: any of the keys ``""`` (global, a QConfig), ``"object_type"``,
                ``"module_name_regex"``, ``"module_name"`` (lists of pairs) and
                ``"module_name_object_type_order"`` (a list of quadruples).

        Raises:
            ValueError: another key.
        """
        mapping = cls()
        setters: dict[str, Callable[..., Any]] = {
            "object_type": mapping.set_object_type,
            "module_name_regex": mapping.set_module_name_regex,
            "module_name": mapping.set_module_name,
            "module_name_object_type_order": mapping.set_module_name_object_type_order,
        }
        for key, value in qconfig_dict.items():
            if key == "":
                mapping.set_global(value)
            elif key in setters:
                for entry in value:
                    setters[key](*entry)
            else:
                raise ValueError(f"unknown key {key!r}; expected '' or one of {', '.join(setters)}")
        return mapping

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for key, value in self.to_dict().items():
            lines.append(f"  {key or 'global'}:" + ("" if isinstance(value, list) else f" {value}"))
            if isinstance(value, list):
                lines += [
                    f"    {', '.join(map(str, where))}: {qconfig}" for *where, qconfig in value
                ]
        return "\n".join([*lines, ")"])
