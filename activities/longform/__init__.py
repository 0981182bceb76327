"""The steps of `longform` and its revisions."""

from activities.longform.assembling import Assembling
from activities.longform.keeping import Keeping
from activities.longform.sources import Sourcing
from activities.longform.writing import Writing


class Longform(Sourcing, Writing, Assembling, Keeping):
    """All of them: what sources say, what models write, what is made of it, and what is kept."""
