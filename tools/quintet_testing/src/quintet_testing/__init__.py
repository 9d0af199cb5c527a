"""What the tests and benchmarks of the five packages share.

- :mod:`quintet_testing.guard`: a pytest plugin that makes the legacy parts of torch raise.
- :mod:`quintet_testing.profile`: a pytest plugin that sets hypothesis up.
- :mod:`quintet_testing.bench`: interleaved timing of ours and a peer, printed as a table.
"""
