"""Task options as users type them."""

import dataclasses

import pytest
import tiny

from tfpipe.base.errors import UserError
from tfpipe.tasks.options import option, parse_options


@dataclasses.dataclass(frozen=True)
class Options:
    flag: bool = option(True, "a boolean")
    off: bool = option(False, "another boolean")
    count: int = option(3, "a whole number", least=1)
    width_mm: float = option(100.0, "a number", least=0)
    side: str = option("up", "a word", choices=("up", "down"))


TASK = dataclasses.replace(tiny.TASK, options=Options())


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "yes", "Yes", "1", " yes "])
def test_a_boolean_is_switched_on_in_any_case(text):
    assert parse_options(TASK, [f"off={text}"]).off is True


@pytest.mark.parametrize("text", ["false", "False", "FALSE", "no", "No", "0", " no "])
def test_a_boolean_is_switched_off_in_any_case(text):
    assert parse_options(TASK, [f"flag={text}"]).flag is False


@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_that_a_card_stores_is_read_back(value):
    options = dataclasses.asdict(Options(flag=value))
    assert parse_options(TASK, [f"{k}={v}" for k, v in options.items()]) == Options(flag=value)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("flag=maybe", "Option flag is 'maybe', expected true, yes, 1, false, no, 0."),
        ("flag=", "Option flag is '', expected true, yes, 1, false, no, 0."),
        ("count=3.5", "Option count is '3.5', expected a whole number."),
        ("count=0", "Option count is '0', expected at least 1."),
        ("width_mm=wide", "Option width_mm is 'wide', expected a number."),
        ("width-mm=nan", "Option width_mm is 'nan', expected at least 0."),
        ("side=left", "Option side is 'left', expected up or down."),
        ("side", "--option 'side' has no '='. Write it as name=value."),
        ("sied=up", "No tiny option called 'sied'. Did you mean 'side'?"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence(setting, sentence):
    with pytest.raises(UserError) as error:
        parse_options(TASK, [setting])
    assert str(error.value).startswith(sentence)
