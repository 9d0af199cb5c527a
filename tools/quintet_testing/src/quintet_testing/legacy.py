"""The parts of torch that are being removed, named once: for the guard and for the AST check.

DESIGN §1 is the source: nothing under ``packages/*/src`` may import, call or need any of these.
"""

DTYPES = ("qint8", "qint32", "quint2x4", "quint4x2", "quint8")

# Attributes of a module, by the module's name.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "torch": (
        "ao",
        "jit",
        "quantization",
        "quantize_per_channel",
        "quantize_per_tensor",
        "quantize_per_tensor_dynamic",
        *DTYPES,
    ),
    # Old aliases of torch.ao.nn.
    "torch.nn": ("intrinsic", "qat", "quantizable", "quantized"),
    "torch.ops": ("quantized", "quantized_decomposed"),
    "torch.backends": ("quantized",),
}

# Dotted names, such as ``torch.ao`` or ``torch.ops.quantized``.
NAMES = frozenset(f"{owner}.{name}" for owner, names in ATTRIBUTES.items() for name in names)


def legacy_part(dotted: str) -> str | None:
    """The legacy part that ``dotted`` names or lies in, or ``None``.

    Example:
        >>> legacy_part("torch.ao.quantization.observer")
        'torch.ao'
        >>> legacy_part("torch.export") is None
        True
    """
    parts = dotted.split(".")
    heads = (".".join(parts[:length]) for length in range(2, len(parts) + 1))
    return next((head for head in heads if head in NAMES), None)
