"""A pytest plugin that sets hypothesis up: no deadlines, since timings are never assertions.

Where ``CI`` is set, hypothesis itself makes the examples the same in every run.
"""

from hypothesis import settings

settings.register_profile("repository", settings(), deadline=None)
settings.load_profile("repository")
