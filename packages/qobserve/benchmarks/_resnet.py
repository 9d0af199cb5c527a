"""ResNet-50 (He et al., "Deep Residual Learning for Image Recognition", 2016), random weights.

Its units are those that a backend fuses, so that observers stand where quantized layers end.
"""

from torch import Tensor, nn

from qobserve import QuantStub


class ConvNorm(nn.Sequential):
    """Convolution and batch norm, and ReLU if asked for."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, relu: bool = True):
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
        )
        if relu:
            self.append(nn.ReLU(inplace=True))


class AddReLU(nn.Module):
    """The end of a residual block."""

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        return (x + shortcut).relu_()


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            ConvNorm(inputs, width, 1),
            ConvNorm(width, width, 3, stride),
            ConvNorm(width, 4 * width, 1, relu=False),
        )
        changed = stride != 1 or inputs != 4 * width
        self.shortcut = (
            ConvNorm(inputs, 4 * width, 1, stride, relu=False) if changed else nn.Identity()
        )
        self.add = AddReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.add(self.residual(x), self.shortcut(x))


def resnet50() -> nn.Sequential:
    layers: list[nn.Module] = [QuantStub(), ConvNorm(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, stride if block == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))
