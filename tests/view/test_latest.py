from __future__ import annotations

import threading

from xpcs_dask.view.latest import Latest


def test_only_the_newest_waits_and_errors_are_answers():
    begun, go_on, ended, answers = threading.Event(), threading.Event(), threading.Event(), []

    def work(job):
        begun.set()
        assert go_on.wait(20)
        if job == 4:
            raise ValueError("four")
        return 10 * job

    def deliver(job, answer):
        answers.append((job, answer))
        if job == 4:
            ended.set()

    worker = Latest(work, deliver)
    worker.ask(1)
    assert begun.wait(20)
    for job in (2, 3, 4):
        worker.ask(job)
    go_on.set()
    assert ended.wait(20)
    worker.end()
    assert [job for job, _ in answers] == [1, 4]
    assert answers[0][1] == 10
    assert isinstance(answers[1][1], ValueError)


def test_nothing_is_delivered_after_the_end():
    begun, go_on, answers = threading.Event(), threading.Event(), []

    def work(job):
        begun.set()
        go_on.wait(20)

    worker = Latest(work, lambda *answer: answers.append(answer))
    worker.ask(1)
    assert begun.wait(20)
    worker.end()
    go_on.set()
    worker._thread.join(20)
    assert not worker._thread.is_alive()
    assert answers == []
