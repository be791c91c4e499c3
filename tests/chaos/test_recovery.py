"""Recovery is measured from what the victim, or those who stand in for it, must do, to the last job's next call."""

from __future__ import annotations

from tests.chaos.faults import RABBITMQ, REDIS, SERVER, WORKERS, Action, Fault
from tests.chaos.recovery import SteadyCall, recoveries, whole_at
from tests.chaos.striker import Struck

STOP_OF_REDIS = Fault(Action.STOP, (REDIS,), 5.0)


def calls(*instants: float) -> list[SteadyCall]:
    """Calls that began a tenth of a second after their nominal times."""
    return [SteadyCall(nominal, nominal + 0.1) for nominal in instants]


def struck(fault: Fault, *, alone: bool = True) -> Struck:
    return Struck(fault, began=100.0, ended=105.0, mended=104.0, alone=alone)


def test_the_service_is_whole_when_the_last_steady_job_has_been_called_again():
    steady = {"a": calls(99, 106, 107), "b": calls(99, 108)}
    assert whole_at(struck(STOP_OF_REDIS), steady, []) == 108.1


def test_a_call_for_an_occurrence_of_before_the_end_does_not_count():
    late = [SteadyCall(99, 99.1), SteadyCall(103, 106), SteadyCall(107, 107.1)]
    assert whole_at(struck(STOP_OF_REDIS), {"a": late}, []) == 107.1


def test_it_is_not_whole_while_a_job_that_was_well_is_silent():
    assert whole_at(struck(STOP_OF_REDIS), {"a": calls(99, 106), "b": calls(99)}, []) is None


def test_a_job_that_was_not_well_before_says_nothing():
    assert whole_at(struck(STOP_OF_REDIS), {"a": calls(99, 106), "b": calls(50)}, []) == 106.1


def test_after_a_kill_of_a_worker_the_others_stand_in_so_time_counts_from_the_kill():
    killed = struck(Fault(Action.KILL, WORKERS[:1], 1.0))
    assert recoveries([killed], {"a": calls(99, 102)}, []) == {"kill worker": [102.1 - 100]}


def test_after_a_kill_of_a_store_time_counts_from_its_start():
    killed = struck(Fault(Action.KILL, (RABBITMQ,), 1.0))
    assert recoveries([killed], {"a": calls(99, 106)}, []) == {"kill rabbitmq": [106.1 - 104]}


def test_a_server_is_back_when_it_answers():
    killed = struck(Fault(Action.KILL, (SERVER,), 1.0))
    assert recoveries([killed], {"a": calls(99, 102)}, [99.9, 104.6]) == {"kill server": [104.6 - 104]}


def test_faults_that_did_not_come_alone_or_hit_a_system_that_was_not_well_are_left_out():
    well, unwell = {"a": calls(99, 106)}, {"a": calls(99, 106), "b": calls(50, 106), "c": calls(50, 106)}
    assert recoveries([struck(STOP_OF_REDIS, alone=False)], well, []) == {}
    assert recoveries([struck(STOP_OF_REDIS)], unwell, []) == {}


def test_a_recovery_during_which_another_fault_began_is_left_out():
    another = Struck(Fault(Action.FLUSH, (REDIS,)), began=105.5, ended=105.6, mended=105.6, alone=False)
    assert recoveries([struck(STOP_OF_REDIS), another], {"a": calls(99, 106)}, []) == {}
