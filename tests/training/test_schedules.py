"""Learning rates fall as their sources say, and go on where another optimizer left off."""

import keras
import numpy as np
import pytest

from tfpipe.training.schedules import Schedule

pytestmark = pytest.mark.slow


def rates(kind: str, *, steps: int = 100, initial_step: int = 0, at=range(101)) -> np.ndarray:
    schedule = Schedule(
        kind, 0.5, steps=steps, initial_step=initial_step, decay_steps=20, decay_rate=0.8
    )
    return np.array([float(schedule(step)) for step in at])


def test_constant():
    assert set(rates("constant")) == {0.5}


def test_cosine_is_keras_own():
    own = keras.optimizers.schedules.CosineDecay(0.5, 100)
    expected = [float(own(step)) for step in range(101)]
    np.testing.assert_allclose(rates("cosine"), expected, atol=1e-7)


def test_exponential_is_keras_own():
    own = keras.optimizers.schedules.ExponentialDecay(0.5, 20, 0.8)
    expected = [float(own(step)) for step in range(101)]
    np.testing.assert_allclose(rates("exponential"), expected, rtol=1e-5)


def test_one_cycle_rises_from_a_25th_and_falls_to_nearly_nothing():
    found = rates("one-cycle")
    # torch OneCycleLR: from max_lr / 25 to max_lr and down to max_lr / 25 / 1e4
    assert found[0] == pytest.approx(0.5 / 25)
    assert found[30] == pytest.approx(0.5) and found.argmax() == 30
    assert found[15] == pytest.approx((0.5 + 0.5 / 25) / 2)  # half a cosine is half way there
    assert found[100] == pytest.approx(0.5 / 25 / 1e4, rel=1e-3)
    assert (np.diff(found[:31]) > 0).all() and (np.diff(found[30:]) < 0).all()


@pytest.mark.parametrize("kind", ["constant", "cosine", "exponential", "one-cycle"])
def test_a_schedule_goes_on_where_an_optimizer_before_it_ended(kind):
    np.testing.assert_allclose(
        rates(kind, initial_step=40, at=range(60)), rates(kind)[40:100], rtol=1e-5
    )


def test_a_saved_schedule_is_the_same():
    schedule = Schedule("one-cycle", 0.5, steps=100, initial_step=3)
    config = keras.saving.serialize_keras_object(schedule)
    assert keras.saving.deserialize_keras_object(config).get_config() == schedule.get_config()
