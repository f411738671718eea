"""What holds for all tests."""

from hypothesis import settings

# A test is judged by what it finds: how long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
