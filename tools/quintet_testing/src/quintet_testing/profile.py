"""A pytest plugin that sets hypothesis up: no deadlines, since timings are never assertions.

Where ``CI`` is set, hypothesis itself makes the examples the same in every run.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "repository", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repository")
