"""The enumerations under the name they had until pyverbs 57 (pyverbs.enums)."""

from lab.verbs import libibverbs_enums

# Those that begin with an underscore too, which an import of everything leaves out.
globals().update(
    {name: value for name, value in vars(libibverbs_enums).items() if not name.startswith("__")}
)
