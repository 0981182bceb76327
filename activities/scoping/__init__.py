"""The steps of `scoping`."""

from activities.scoping.asking import Asking
from activities.scoping.assembling import Assembling
from activities.scoping.drafting import Drafting
from activities.scoping.keeping import Keeping


class Scoping(Asking, Drafting, Assembling, Keeping):
    """All of them: what models say of answers, what they write, what is made of it, and what is kept."""
