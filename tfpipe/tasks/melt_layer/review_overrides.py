"""Review overrides: reviewers' decisions about a core's layers, in place of the table's."""

from dataclasses import replace

from tfpipe.tasks.annotations import spans
from tfpipe.tasks.melt_layer.tables import DUBIOUS, Feature
from tfpipe.tasks.task import Source


def reviewed_features(source: Source, *, shift_m: float, drift_m: float = 0.0) -> list[Feature]:
    """Returns the features of a photo by the table, with reviewers' decisions in their place.

    Reviewers see the photo, so their depths hold as they are; the table's are moved by the photo's
    shift. All depths returned are in the table's system.

    Args:
      source: a photo as `apply.survey_with_decisions` lists it.
      shift_m: of the photo; positive is deeper.
      drift_m: by how much more the table's features at the photo's bottom move than those at its
        top; half of it is taken away above the middle, and added below, in proportion.
    """
    names = {decision.what for decision in source.decisions}
    features = [
        _drifted(one, source, drift_m=drift_m)
        for one in source.about.features
        if feature_name(one) not in names
    ]
    features += [
        Feature(
            decision.top_m - shift_m,
            decision.bottom_m - shift_m,
            DUBIOUS if decision.state == "dubious" else decision.label,
        )
        for decision in source.decisions
        if decision.label or decision.state == "dubious"
    ]
    return sorted(features, key=lambda feature: (feature.depth_from_m, feature.depth_to_m))


def _drifted(feature: Feature, source: Source, *, drift_m: float) -> Feature:
    photo = source.about.photo
    middle_m = (feature.depth_from_m + feature.depth_to_m) / 2
    share = (middle_m - photo.top_m) / (photo.bottom_m - photo.top_m) - 0.5
    by_m = drift_m * min(max(share, -0.5), 0.5)
    return replace(
        feature, depth_from_m=feature.depth_from_m + by_m, depth_to_m=feature.depth_to_m + by_m
    )


def is_fully_reviewed(source: Source) -> bool:
    """Returns whether reviewers have decided about every feature of the table in a photo."""
    names = {decision.what for decision in source.decisions}
    return bool(names) and all(feature_name(one) in names for one in source.about.features)


def feature_name(feature: Feature) -> str:
    """Returns the name of a feature of the table in decisions; its depths are the table's own."""
    name = spans.span_name("tabled", feature.depth_from_m, feature.depth_to_m)
    return f"{name} {feature.kind}"
