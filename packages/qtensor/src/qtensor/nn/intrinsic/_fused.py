"""Float layers that a backend computes in one step, kept together until they are quantized.

One container differs from another only in the parts it takes, so the classes are made from these.
"""

from collections.abc import Callable, Iterator
from inspect import Parameter, Signature
from typing import Any, ClassVar

from torch import Tensor, nn

Parts = dict[str, Any]


class FusedModule(nn.Sequential):
    """Runs its parts one after the other.

    The constructor takes the parts in their order, or by name.

    Raises:
        TypeError: a part is missing, or of another class than the container's name says.

    Example:
        >>> import torch, qtensor
        >>> layer = torch.nn.Conv2d(3, 8, 3)
        >>> fused = qtensor.nn.intrinsic.ConvReLU2d(layer, torch.nn.ReLU())
        >>> fused(torch.ones(1, 3, 5, 5)).shape
        torch.Size([1, 8, 3, 3])
    """

    _parts: ClassVar[Parts]  # the constructor's arguments, and the class of each
    __signature__: ClassVar[Signature]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*self._take(args, kwargs).values())

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        named = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in cls._parts]
        cls.__signature__ = Signature(named)

    def _take(self, args: tuple[Any, ...], kwargs: Parts) -> Parts:
        """The parts by name."""
        name, expected = type(self).__name__, self._parts
        try:
            given = self.__signature__.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{name} expects ({', '.join(expected)}): {error}") from None
        if not all(isinstance(given[part], kind) for part, kind in expected.items()):
            raise TypeError(
                f"{name} expects ({', '.join(kind.__name__ for kind in expected.values())}), "
                f"got ({', '.join(type(part).__name__ for part in given.values())})"
            )
        return given


class ResidualModule(FusedModule):
    """A layer whose result is added to a second input, and perhaps a ReLU.

    ``add`` is a function or module of two tensors, ``relu`` of one.
    """

    _parts: ClassVar[Parts] = {"layer": nn.Module, "add": Callable}
    add: Callable[[Tensor, Tensor], Tensor]
    relu: Callable[[Tensor], Tensor]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        (_, layer), *after = self._take(args, kwargs).items()
        nn.Sequential.__init__(self, layer)
        for name, function in after:
            setattr(self, name, function)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:  # type: ignore[override]  # two inputs
        """``layer(x1) + x2``, and the ReLU of it where there is one."""
        result: Any = self.add(self[0](x1), x2)
        return self.relu(result) if "relu" in self._parts else result


def fused_name(layer: str, after: str) -> str:
    """What ``layer`` with ``after`` fused to it is called: of Conv1d and ReLU, ConvReLU1d."""
    kind, dims = (layer[:-2], layer[-2:]) if layer.endswith("d") else (layer, "")
    return kind + after + dims


def _container(
    name: str, what: str, parts: Parts, base: type[FusedModule] = FusedModule
) -> type[FusedModule]:
    members = {"_parts": parts, "__doc__": f"{what}.", "__module__": __package__}
    return type(name, (base,), members)


def _layer(layer: type[nn.Module]) -> Parts:
    return {"linear" if layer is nn.Linear else "conv": layer}


def _activated(layer: type[nn.Module]) -> Iterator[type[FusedModule]]:
    """Containers of ``layer`` and an activation; ReLU6 is a Hardtanh."""
    for part, activation in (
        ("relu", nn.ReLU),
        ("hardtanh", nn.Hardtanh),
        ("leaky_relu", nn.LeakyReLU),
        ("tanh", nn.Tanh),
        ("gelu", nn.GELU),
    ):
        name, after = layer.__name__, activation.__name__
        parts = _layer(layer) | {part: activation}
        yield _container(fused_name(name, after), f"{name} and {after}", parts)


def _added(layer: type[nn.Module]) -> Iterator[type[FusedModule]]:
    """Containers of ``layer`` and the addition of a second input; the same and a ReLU."""
    what = f"{layer.__name__} and the addition of a second input"
    parts = _layer(layer) | {"add": Callable}
    yield _container(fused_name(layer.__name__, "Add"), what, parts, ResidualModule)
    parts = parts | {"relu": Callable}
    name = fused_name(layer.__name__, "AddReLU")
    yield _container(name, f"{what}, and ReLU", parts, ResidualModule)


def _normalized(layer: type[nn.Module], batch_norm: type[nn.Module]) -> Iterator[type[FusedModule]]:
    """Containers of ``layer`` and a batch norm, for training; the same and a ReLU."""
    what = f"{layer.__name__} and {batch_norm.__name__}"
    parts = _layer(layer) | {"bn": batch_norm}
    yield _container(fused_name(layer.__name__, "Bn"), what, parts)
    parts = parts | {"relu": nn.ReLU}
    yield _container(fused_name(layer.__name__, "BnReLU"), f"{what}, and ReLU", parts)


LinearReLU, LinearHardtanh, LinearLeakyReLU, LinearTanh, LinearGELU = _activated(nn.Linear)
LinearAdd, LinearAddReLU = _added(nn.Linear)
LinearBn1d = _container(
    "LinearBn1d", "Linear and BatchNorm1d", _layer(nn.Linear) | {"bn": nn.BatchNorm1d}
)

ConvReLU1d, ConvHardtanh1d, ConvLeakyReLU1d, ConvTanh1d, ConvGELU1d = _activated(nn.Conv1d)
ConvReLU2d, ConvHardtanh2d, ConvLeakyReLU2d, ConvTanh2d, ConvGELU2d = _activated(nn.Conv2d)
ConvReLU3d, ConvHardtanh3d, ConvLeakyReLU3d, ConvTanh3d, ConvGELU3d = _activated(nn.Conv3d)
ConvAdd1d, ConvAddReLU1d = _added(nn.Conv1d)
ConvAdd2d, ConvAddReLU2d = _added(nn.Conv2d)
ConvAdd3d, ConvAddReLU3d = _added(nn.Conv3d)
ConvBn1d, ConvBnReLU1d = _normalized(nn.Conv1d, nn.BatchNorm1d)
ConvBn2d, ConvBnReLU2d = _normalized(nn.Conv2d, nn.BatchNorm2d)
ConvBn3d, ConvBnReLU3d = _normalized(nn.Conv3d, nn.BatchNorm3d)

(
    ConvTransposeReLU1d,
    ConvTransposeHardtanh1d,
    ConvTransposeLeakyReLU1d,
    ConvTransposeTanh1d,
    ConvTransposeGELU1d,
) = _activated(nn.ConvTranspose1d)
(
    ConvTransposeReLU2d,
    ConvTransposeHardtanh2d,
    ConvTransposeLeakyReLU2d,
    ConvTransposeTanh2d,
    ConvTransposeGELU2d,
) = _activated(nn.ConvTranspose2d)
(
    ConvTransposeReLU3d,
    ConvTransposeHardtanh3d,
    ConvTransposeLeakyReLU3d,
    ConvTransposeTanh3d,
    ConvTransposeGELU3d,
) = _activated(nn.ConvTranspose3d)
ConvTransposeAdd1d, ConvTransposeAddReLU1d = _added(nn.ConvTranspose1d)
ConvTransposeAdd2d, ConvTransposeAddReLU2d = _added(nn.ConvTranspose2d)
ConvTransposeAdd3d, ConvTransposeAddReLU3d = _added(nn.ConvTranspose3d)

BNReLU2d, BNReLU3d = (
    _container(name, f"{kind.__name__} and ReLU", {"batch_norm": kind, "relu": nn.ReLU})
    for name, kind in (("BNReLU2d", nn.BatchNorm2d), ("BNReLU3d", nn.BatchNorm3d))
)
