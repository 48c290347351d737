"""Every code has words, and the weight of a flag is what `dispersion` makes of it."""

import numpy as np
import pytest

from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status
from xpcs_dask.physics.law_record import Note
from xpcs_dask.physics.used_bins import DISTRUSTED, Lack
from xpcs_dask.reporting.words import ERRORS_FROM, FLAGS, LACKS, NOTES, STATUSES, VERDICTS, Verdict, Weight, verdicts


@pytest.mark.parametrize(
    ("codes", "words"),
    [(Flag, FLAGS), (Status, STATUSES), (ErrorsFrom, ERRORS_FROM), (Note, NOTES), (Lack, LACKS), (Verdict, VERDICTS)],
    ids=["flags", "status", "errors", "notes", "lacks", "verdicts"],
)
def test_every_code_has_words(codes, words):
    assert set(words) == set(codes)


def test_titles_are_not_taken_for_each_other():
    titles = [word.title for word in (*FLAGS.values(), *STATUSES.values())]
    assert len(set(titles)) == len(titles)


def test_what_is_distrusted_is_what_has_no_say_in_tau_of_q():
    distrusted = {str(flag.name).lower() for flag, word in FLAGS.items() if word.weight == Weight.DISTRUST}
    assert distrusted == {*DISTRUSTED, "unusable"}


def test_flags_stand_worst_first():
    weights = [word.weight for word in FLAGS.values()]
    assert weights == sorted(weights, reverse=True)


def test_verdicts_take_the_worst_that_is_said():
    status = np.array([Status.CONVERGED] * 5 + [Status.NO_DATA])
    flags = np.array(
        [0, Flag.POINTS_EXCLUDED, Flag.POOR_FIT | Flag.POINTS_EXCLUDED, Flag.WEAK | Flag.POOR_FIT, Flag.SLOW, 0],
        dtype=np.uint32,
    )
    good, doubtful, distrusted, failed = Verdict
    assert verdicts(status, flags).tolist() == [good, good, doubtful, distrusted, distrusted, failed]
