"""The ways an operator can be quantized."""

import enum


class QuantType(enum.IntEnum):
    """How an operator is quantized.

    ``STATIC``: weights and activations, with calibrated parameters. ``DYNAMIC``: weights ahead of
    time, activations as they come. ``WEIGHT_ONLY``: weights alone. ``QAT``: as ``STATIC``, after
    training that knew of it.
    """

    DYNAMIC = 0
    STATIC = 1
    QAT = 2
    WEIGHT_ONLY = 3

    @property
    def key(self) -> str:
        """The name used in dictionaries: ``"static"``, ``"dynamic"``, ``"qat"`` …"""
        return self.name.lower()

    @classmethod
    def from_key(cls, key: str) -> "QuantType":
        """The type called ``key`` in a dictionary.

        Raises:
            ValueError: no type is called so.
        """
        try:
            return cls[key.upper()]
        except KeyError:
            known = [member.key for member in cls]
            raise ValueError(f"expected a quantization type among {known}, got {key!r}") from None
