"""Quantized convolutions with what follows them fused into the kernel's last step."""

from ... import quantized as nnq
from ._fused import ACTIVATIONS, ADDITIONS, fused

ConvReLU1d, ConvHardtanh1d, ConvLeakyReLU1d, ConvTanh1d, ConvGELU1d = fused(
    nnq.Conv1d, ACTIVATIONS, __package__
)
ConvReLU2d, ConvHardtanh2d, ConvLeakyReLU2d, ConvTanh2d, ConvGELU2d = fused(
    nnq.Conv2d, ACTIVATIONS, __package__
)
ConvReLU3d, ConvHardtanh3d, ConvLeakyReLU3d, ConvTanh3d, ConvGELU3d = fused(
    nnq.Conv3d, ACTIVATIONS, __package__
)
(
    ConvTransposeReLU1d,
    ConvTransposeHardtanh1d,
    ConvTransposeLeakyReLU1d,
    ConvTransposeTanh1d,
    ConvTransposeGELU1d,
) = fused(nnq.ConvTranspose1d, ACTIVATIONS, __package__)
(
    ConvTransposeReLU2d,
    ConvTransposeHardtanh2d,
    ConvTransposeLeakyReLU2d,
    ConvTransposeTanh2d,
    ConvTransposeGELU2d,
) = fused(nnq.ConvTranspose2d, ACTIVATIONS, __package__)
(
    ConvTransposeReLU3d,
    ConvTransposeHardtanh3d,
    ConvTransposeLeakyReLU3d,
    ConvTransposeTanh3d,
    ConvTransposeGELU3d,
) = fused(nnq.ConvTranspose3d, ACTIVATIONS, __package__)

ConvAdd1d, ConvAddReLU1d = fused(nnq.Conv1d, ADDITIONS, __package__)
ConvAdd2d, ConvAddReLU2d = fused(nnq.Conv2d, ADDITIONS, __package__)
ConvAdd3d, ConvAddReLU3d = fused(nnq.Conv3d, ADDITIONS, __package__)
ConvTransposeAdd1d, ConvTransposeAddReLU1d = fused(nnq.ConvTranspose1d, ADDITIONS, __package__)
ConvTransposeAdd2d, ConvTransposeAddReLU2d = fused(nnq.ConvTranspose2d, ADDITIONS, __package__)
ConvTransposeAdd3d, ConvTransposeAddReLU3d = fused(nnq.ConvTranspose3d, ADDITIONS, __package__)
