"""How many threads kernels may use."""

import os

import torch

_in_forked_child = False


def num_threads() -> int:
    """The number of threads for a kernel called now: torch's, or 1 in a forked child.

    A child that was forked after its parent ran a parallel region inherits an OpenMP runtime
    whose threads are gone, and would wait for them forever. With one thread, kernels do not enter
    OpenMP at all.
    """
    return 1 if _in_forked_child else torch.get_num_threads()


def _after_fork() -> None:
    global _in_forked_child
    _in_forked_child = True


os.register_at_fork(after_in_child=_after_fork)
