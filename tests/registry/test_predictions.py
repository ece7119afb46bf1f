"""predictions.csv of a version, as somebody else may have written it."""

import pytest

from tfpipe.base.errors import UserError
from tfpipe.registry.predictions import predictions

HEAD = "split,key,group,label,p_ash,p_dust\n"


def written(folder, text: str):
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra/predictions.csv").write_text(text)
    return folder


def test_numbers_and_text_have_their_types(tmp_path):
    text = "split,key,group,label,p_ash,p_site\ntest,7,01,0,0.5,north\n"
    table = predictions(written(tmp_path, text), {"p_site": "str"})
    assert predictions(tmp_path, {}, classes=("ash",)).loc[0, "p_site"] == "north"
    assert table.loc[0].to_dict() == {
        "split": "test",
        "key": "7",
        "group": "01",
        "label": 0,
        "p_ash": 0.5,
        "p_site": "north",
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is missing or no table"),
        (HEAD + "test,a,g,0,much,.5\n", "has text in the column p_ash, expected numbers"),
        (HEAD + "test,a,g,dust,.5,.5\n", "has text in the column label, expected numbers"),
        (HEAD.replace("key,", "") + "test,g,0,.5,.5\n", "has no column key"),
    ],
)
def test_what_is_missing_or_no_number_is_named(tmp_path, text, sentence):
    with pytest.raises(UserError, match=sentence):
        predictions(written(tmp_path, text), {}, classes=("ash", "dust"))
