from collections.abc import Callable
from typing import Any

class Recalled:
    def __init__(
        self,
        function: Callable[..., Any],
        finished: Callable[[Any], Any],
        call: type,
        quantized: type,
        qparams: type,
        qdtype: type,
    ) -> None: ...
    def __call__(self, args: tuple[Any, ...], named: dict[str, Any]) -> Any: ...
