"""Files that are whole or not there: atomic places, locks, and JSON with arrays instead of pickle.

`_archive`, `_codec` and `_known` load torch and scikit-learn: import from them where they are needed.
"""

from modalsplit.files._atomic import check_place, put_in_place, scratch_beside, sole_user, whole_file
from modalsplit.files._reading import fill

__all__ = ["check_place", "fill", "put_in_place", "scratch_beside", "sole_user", "whole_file"]
