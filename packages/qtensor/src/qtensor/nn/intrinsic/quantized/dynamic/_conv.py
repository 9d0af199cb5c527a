"""Dynamically quantized convolutions with an activation fused in."""

from ....quantized import dynamic as nnqd
from .._fused import ACTIVATIONS, fused

ConvReLU1d, ConvHardtanh1d, ConvLeakyReLU1d, ConvTanh1d, ConvGELU1d = fused(
    nnqd.Conv1d, ACTIVATIONS, __package__
)
ConvReLU2d, ConvHardtanh2d, ConvLeakyReLU2d, ConvTanh2d, ConvGELU2d = fused(
    nnqd.Conv2d, ACTIVATIONS, __package__
)
ConvReLU3d, ConvHardtanh3d, ConvLeakyReLU3d, ConvTanh3d, ConvGELU3d = fused(
    nnqd.Conv3d, ACTIVATIONS, __package__
)
(
    ConvTransposeReLU1d,
    ConvTransposeHardtanh1d,
    ConvTransposeLeakyReLU1d,
    ConvTransposeTanh1d,
    ConvTransposeGELU1d,
) = fused(nnqd.ConvTranspose1d, ACTIVATIONS, __package__)
(
    ConvTransposeReLU2d,
    ConvTransposeHardtanh2d,
    ConvTransposeLeakyReLU2d,
    ConvTransposeTanh2d,
    ConvTransposeGELU2d,
) = fused(nnqd.ConvTranspose2d, ACTIVATIONS, __package__)
(
    ConvTransposeReLU3d,
    ConvTransposeHardtanh3d,
    ConvTransposeLeakyReLU3d,
    ConvTransposeTanh3d,
    ConvTransposeGELU3d,
) = fused(nnqd.ConvTranspose3d, ACTIVATIONS, __package__)
