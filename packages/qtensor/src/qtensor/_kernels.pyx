# cython: language_level=3
def supports_isa(str name):
    return name in ("scalar", "avx2")
