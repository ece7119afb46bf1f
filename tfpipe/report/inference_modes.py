"""What a report tells of the ways in which a model can look along whole photos."""

from tfpipe.base import html
from tfpipe.base.html import Html, joined, tag
from tfpipe.evaluation.metric_names import METRICS, title_of
from tfpipe.models.inference_modes import WAYS
from tfpipe.report.facts import Facts

SAID = {
    "scan": "windows share their work, those that may show something are seen one by one, too",
    "scan-intervals": "likewise, and where a layer begins and ends is what the windows say",
    "windows": "window by window; a layer is as thick as its rows are dark",
    "intervals": "window by window, and where a layer begins and ends is what the windows say",
}


def ways(known: Facts) -> Html | None:
    """What whole photos' layers are found like in each way, and which one predict takes."""
    told = known.card.get("ways") or {}
    names = [
        name
        for name in METRICS
        if any(name in one["scores"]["validation"] for one in told.values())
    ]
    if not names:
        return None
    rows = [
        (
            f"{name}, predict's default" if name == known.card["way"] else name,
            split,
            html.number(told[name]["thresholds"]["decision"]),
            *(html.number(scores.get(metric), why="none there") for metric in names),
        )
        for name in WAYS
        if name in told
        for split, scores in told[name]["scores"].items()
    ]
    headings = ("way", "split", "threshold", *map(title_of, names))
    explained = [tag("li", f"{name}: {SAID[name]}") for name in WAYS if name in told]
    text = (
        "The way and its threshold are chosen on the validation photos; of equally good ones the "
        "faster is taken. `--way` asks for another."
    )
    return joined(tag("p", text), html.table(headings, rows), tag("ul", *explained))
