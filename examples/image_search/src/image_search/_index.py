"""A table of vectors in int8, searched by one matrix product."""

import torch
from torch import Tensor, nn

import qtensor
from qtensor.nn.quantized.dynamic import Linear

from ._weights import int8_rows


class Index(nn.Module):
    """Ranks stored vectors by their cosine similarity to a query.

    The vectors are the rows of an int8 weight, each with a scale of its own; a query is quantized
    as the kernel reads it. So a search is one int8 product, and the table takes a quarter of the
    memory.

    Args:
        vectors: float32, ``(count, dimension)``.

    Example:
        >>> import torch
        >>> index = Index(torch.eye(3))
        >>> index.search(torch.tensor([[0.0, 2.0, 1.0]]), k=2)[1]
        tensor([[1, 2]])
    """

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        count, dimension = vectors.shape
        self.table = Linear(dimension, count, bias_=False)
        self.table.set_weight_bias(int8_rows(nn.functional.normalize(vectors)), None)

    def search(self, queries: Tensor, k: int = 10) -> tuple[Tensor, Tensor]:
        """The ``k`` most similar vectors of each query.

        Args:
            queries: float32, ``(queries, dimension)``.
            k: how many, at most ``count``.

        Returns:
            similarities (float32) and positions in the table (int64), ``(queries, k)``, best first.
        """
        best = torch.topk(self.table(nn.functional.normalize(queries)), k)
        return best.values, best.indices

    def vectors(self) -> qtensor.QTensor:
        """The stored vectors, normalized: int8, one scale for each."""
        return self.table.weight()
