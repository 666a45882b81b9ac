"""Discovery methods: arrays in, slices out. They know nothing of Hydra, Lightning, W&B or files."""

from weakspot.methods.base import Audited, Method
from weakspot.methods.registry import apply, audit_of, find, memberships_of, restored, words

__all__ = ["Audited", "Method", "apply", "audit_of", "find", "memberships_of", "restored", "words"]
