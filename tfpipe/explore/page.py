"""An exploration as one page of HTML: the map with its pictures, the queue, and what to trust."""

from pathlib import Path

import pandas as pd

from tfpipe.base import files, html, html_scripts
from tfpipe.base.html import Html, joined, tag
from tfpipe.explore import confounders, page_map, umap
from tfpipe.explore.novelty_benchmark import MEAN
from tfpipe.explore.queue import Entry
from tfpipe.explore.result import Findings

MOST_POINTS = 6_000  # on the page's map, each with its picture of some 3 KB
QUEUED = 48  # entries of the queue shown


def shown_rows(known: Findings, *, seed: int) -> tuple[list[int], list[int]]:
    """Returns the rows whose pictures the page needs, and those of the queue that it shows."""
    queued = {row for entry in known.queue[:QUEUED] for row in (entry.row, *entry.beside)} | {
        entry.row for entry in known.queue[: MOST_POINTS // 4]
    }
    drawn = umap.chosen(len(known.frame), most=MOST_POINTS - len(queued), seed=seed)
    return sorted({*queued, *drawn.tolist()}), [entry.row for entry in known.queue[:QUEUED]]


def write(
    path: Path, known: Findings, *, pictures: dict[int, bytes], remade: dict[int, bytes]
) -> Path:
    """Writes an exploration as one file that needs no network.

    Args:
      path: of the page.
      known: what was found.
      pictures: row -> JPEG, of `shown_rows`.
      remade: row -> JPEG of what an autoencoder made of it, of the queue; {} without one.

    Returns:
      The path.

    Raises:
      UserError: if the folder cannot be written.
    """
    told = page_map.told(known, pictures)
    scripts = html_scripts.scripts(told, page_map.DRAW)
    notes = tag("ul", *(tag("li", note) for note in known.notes)) if known.notes else None
    parts = [
        ("Map", joined(page_map.section(told, total=len(known.frame)), _trust(known.trust))),
        ("Queue", _queue(known, pictures=pictures, remade=remade)),
        ("Which score to trust", _benchmark(known.benchmark)),
        ("Clusters: real, or light and crop?", _clusters(known)),
        ("Scores: new, or light and crop?", _scores(known)),
        ("Notes", joined(notes, *(tag("script", script) for script in scripts))),
    ]
    policy = html_scripts.policy(scripts)
    text = html.document(known.title, _headline(known), parts, policy=policy)
    files.replace(path, text.encode("utf-8", "replace"))
    return path


def _headline(known: Findings) -> Html:
    tiles = [
        ("pictures", len(known.frame)),
        ("of them labelled", int((known.frame["label"] != "").sum())),
        ("clusters", int(known.frame["cluster"].max()) + 1),
        ("in the queue", len(known.queue)),
    ]
    return joined(
        tag("h1", known.title),
        tag("p", known.reason, class_="lead"),
        html.tiles([(name, f"{count:,}") for name, count in tiles]),
    )


def _trust(trust: pd.DataFrame) -> Html:
    why = "chosen by umap-learn"
    rows = [
        (row.map, row.training, row.new, html.number(row.steps, digits=0, why=why))
        for row in trust.itertuples()
    ]
    headings = ("map", "trustworthiness, training", "trustworthiness, new", "gradient steps")
    return html.table(headings, rows)


def _queue(known: Findings, *, pictures: dict[int, bytes], remade: dict[int, bytes]) -> Html:
    says = "The newest first; near-copies of one above are left out. Under each picture"
    says += ", beside what the autoencoder made of it," if remade else ""
    says += " stand the known pictures nearest to it."
    figures = [
        _entry(known, rank, entry, pictures=pictures, remade=remade)
        for rank, entry in enumerate(known.queue[:QUEUED], start=1)
    ]
    more = f"The first {len(figures):,} of {len(known.queue):,}; queue.csv has all."
    return joined(
        tag("p", says), tag("p", more, class_="soft"), tag("div", *figures, class_="gallery")
    )


def _entry(
    known: Findings,
    rank: int,
    entry: Entry,
    *,
    pictures: dict[int, bytes],
    remade: dict[int, bytes],
) -> Html:
    row, labels = known.frame.iloc[entry.row], known.labels
    large = [_picture(pictures[entry.row], says=str(row["key"]), width="48%")]
    if entry.row in remade:
        large.append(_picture(remade[entry.row], says="as the autoencoder remade it", width="48%"))
    small = [_picture(pictures[i], says=f"known: {labels[i]}", width="31%") for i in entry.beside]
    lines = [f"{rank}. {row['key']}"]
    lines += [f"predicted {row['predicted']}"] if row["predicted"] else []
    lines += [
        f"{known.clusters[entry.row]}, {known.ranked_by.replace('_', ' ')} "
        f"{row[known.ranked_by]:.3g}"
    ]
    lines += [f"near-copies left out: {len(entry.copies)}"] if entry.copies else []
    lines.append(f"nearest known: {', '.join(labels[i] for i in entry.beside)}")
    caption = tag("figcaption", *(joined(line, Html("<br>")) for line in lines))
    flow = "display: flex; gap: 2%; align-items: flex-start"
    return tag("figure", tag("div", *large, style=flow), tag("div", *small, style=flow), caption)


def _picture(jpeg: bytes, *, says: str, width: str) -> Html:
    uri = html.data_uri(jpeg, kind="image/jpeg")
    return tag("img", src=uri, alt=says, title=says, style=f"width: {width}")


def _benchmark(table: pd.DataFrame) -> Html:
    if not len(table):
        says = "No class was left out yet: --leave-out each measures which score finds new kinds."
        return tag("p", says)
    wide = table.pivot(index="score", columns="class", values="auroc")
    first = table[table["class"] == MEAN].set_index("score")
    order = first["auroc"].sort_values(ascending=False, kind="stable").index
    classes = [name for name in table["class"].unique() if name != MEAN]
    rows = [
        (
            name.replace("_", " "),
            float(first.loc[name, "auroc"]),
            float(first.loc[name, "precision_at_100"]),
            *(float(wide.loc[name, one]) for one in classes),
        )
        for name in order
    ]
    says = (
        "Each class in turn was left out of training, and looked for among the labelled pictures "
        "of held-out groups. AUROC: how often a picture of it scores above another (0.5 is "
        "chance). Precision at 100: the share of it among the first hundred, or among as many as "
        "it has pictures where these are fewer."
    )
    headings = ("score", "mean AUROC", "mean precision at 100", *(f"AUROC, {c}" for c in classes))
    return joined(tag("p", says), html.table(headings, rows))


def _clusters(known: Findings) -> Html:
    if not len(known.of_clusters):
        return tag("p", "There is no cluster: too few pictures lie close enough together.")
    said = confounders.in_words(known.of_clusters)
    rows = []
    for number, own in known.frame.groupby("cluster"):
        if number < 0:
            continue
        counts = pd.Series(known.labels[own.index]).value_counts()
        shares = ", ".join(f"{count:,} {name}" for name, count in counts.head(3).items())
        rows.append((f"{number}", len(own), shares, said[f"cluster {number}"]))
    says = (
        "Each cluster is tested against what can be measured of light, crop, place and run: how "
        "well that number alone tells the cluster's pictures from the others."
    )
    headings = ("cluster", "pictures", "commonest classes", "explained by")
    return joined(tag("p", says), html.table(headings, rows), _direction(known.of_direction))


def _direction(table: pd.DataFrame) -> Html:
    rows = [
        (
            f"{row.what}, pictures {row.shown}",
            row.measure,
            row.value,
            "yes" if row.explained else "no",
        )
        for row in table.itertuples()
    ]
    says = (
        "How much of each cluster is the direction alone in which a thing lies, with twice the "
        "angle, as half a turn changes nothing. AUROC: 0.5 is chance. "
    )
    if table["shown"].nunique() < 2:
        says += "With --blind-to-direction models are shown every picture lying the same way."
    headings = ("clusters", "measure", "value", "explained")
    return joined(tag("p", says), html.table(headings, rows))


def _scores(known: Findings) -> Html:
    said = confounders.in_words(known.of_scores)
    return tag("ul", *(tag("li", sentence) for sentence in said.values()))
