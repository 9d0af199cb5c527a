"""The operators of ``torch.ops.qtensor``, one file each, on plain tensors.

Every file holds, next to each other: the obvious implementation in plain torch (the
specification), the call of the compiled kernel, the shape rule, and the registration.
"""
