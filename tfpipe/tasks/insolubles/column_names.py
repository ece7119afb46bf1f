"""Column names, with units, for the different headings of VisualSpreadsheet's files.

Grey values are levels of the camera (0 to 255); names without a unit are ratios or counts.
"""

import re
from collections.abc import Iterable

from tfpipe.base.errors import UserError

# our name: (heading in VisualSpreadsheet's CSV, field of its .lst, "" where one lacks it)
# The 34 columns of seed document 000, in its order.
MEASURED = {
    "area_abd_um2": ("Area (ABD)", "abd_area"),
    "area_filled_um2": ("Area (Filled)", "filled_area"),
    "aspect_ratio": ("Aspect Ratio", ""),
    "biovolume_cylinder_um3": ("Biovolume (Cylinder)", ""),
    "biovolume_p_spheroid_um3": ("Biovolume (P. Spheroid)", ""),
    "circle_fit": ("Circle Fit", "circle_fit"),
    "circularity": ("Circularity", ""),
    "circularity_hu": ("Circularity (Hu)", "circularity_hu"),
    "compactness": ("Compactness", "compactness"),
    "convex_perimeter_um": ("Convex Perimeter", "convex_perimeter"),
    "convexity": ("Convexity", ""),
    "diameter_abd_um": ("Diameter (ABD)", "abd_diameter"),
    "diameter_esd_um": ("Diameter (ESD)", "esd_diameter"),
    "edge_gradient_grey": ("Edge Gradient", "edge_gradient"),
    "elongation": ("Elongation", "elongation"),
    "feret_angle_max_deg": ("Feret Angle Max", "feret_max_angle"),
    "feret_angle_min_deg": ("Feret Angle Min", "feret_min_angle"),
    "fiber_curl": ("Fiber Curl", ""),
    "fiber_straightness": ("Fiber Straightness", ""),
    "geodesic_aspect_ratio": ("Geodesic Aspect Ratio", ""),
    "geodesic_length_um": ("Geodesic Length", ""),
    "geodesic_thickness_um": ("Geodesic Thickness", ""),
    "intensity_grey": ("Intensity", "intensity"),
    "length_um": ("Length", "length"),
    "particles_per_chain": ("Particles Per Chain", "ppc"),
    "perimeter_um": ("Perimeter", "perimeter"),
    "roughness": ("Roughness", "roughness"),
    "sigma_intensity_grey": ("Sigma Intensity", "sigma_intensity"),
    "sum_intensity_grey": ("Sum Intensity", "sum_intensity"),
    "symmetry": ("Symmetry", "symmetry"),
    "transparency": ("Transparency", ""),
    "volume_abd_um3": ("Volume (ABD)", ""),
    "volume_esd_um3": ("Volume (ESD)", ""),
    "width_um": ("Width", "width"),
}

# Columns that only some runs have.
FURTHER = {
    "average_red_grey": ("Average Red", "avg_red"),
    "average_green_grey": ("Average Green", "avg_green"),
    "average_blue_grey": ("Average Blue", "avg_blue"),
    "ratio_blue_green": ("Ratio Blue/Green", ""),
    "ratio_red_blue": ("Ratio Red/Blue", ""),
    "ratio_red_green": ("Ratio Red/Green", ""),
    "biovolume_sphere_um3": ("Biovolume (Sphere)", ""),
    "diameter_fd_um": ("Diameter (FD)", ""),
    "image_width_px": ("Image Width", "image_w"),
    "image_height_px": ("Image Height", "image_h"),
    "raw_area_px2": ("", "raw_area"),
    "raw_filled_area_px2": ("", "raw_filled_area"),
    "raw_convex_hull_area_px2": ("", "raw_convex_hull_area"),
    "raw_feret_max_px": ("", "raw_feret_max"),
    "raw_feret_min_px": ("", "raw_feret_min"),
    "raw_feret_mean_px": ("", "raw_feret_mean"),
    "raw_perimeter_px": ("", "raw_perimeter"),
    "raw_convex_perimeter_px": ("", "raw_convex_perimeter"),
    "raw_legendre_major_px": ("", "raw_legendre_major"),
    "raw_legendre_minor_px": ("", "raw_legendre_minor"),
    "raw_sphere_volume": ("", "raw_sphere_volume"),
    "raw_sphere_complement": ("", "raw_sphere_complement"),
    "raw_sphere_unknown": ("", "raw_sphere_unknown"),
    "sphere_count": ("Sphere Count", "sphere_count"),
    "sphere_volume": ("Sphere Volume", ""),
    "sphere_complement": ("Sphere Complement", ""),
    "sphere_unknown": ("Sphere Unknown", ""),
    "ch1_peak": ("Ch1 Peak", "ch1_peak"),
    "ch1_width": ("Ch1 Width", "ch1_width"),
    "ch1_area": ("Ch1 Area", "ch1_area"),
    "ch2_peak": ("Ch2 Peak", "ch2_peak"),
    "ch2_width": ("Ch2 Width", "ch2_width"),
    "ch2_area": ("Ch2 Area", "ch2_area"),
    "ch3_peak": ("Ch3 Peak", "ch3_peak"),
    "ch3_width": ("Ch3 Width", "ch3_width"),
    "ch3_area": ("Ch3 Area", "ch3_area"),
    "ch2_ch1_ratio": ("Ch2/Ch1 Ratio", ""),
    "scatter_peak": ("Scatter Peak", ""),
    "scatter_width": ("Scatter Width", ""),
    "scatter_area": ("Scatter Area", ""),
}

# Columns that describe the run, or the place in it, instead of the particle. The filter score is
# the output of another classifier, which was given a library of labelled particles.
LEAKING = {
    "particle_id": ("Particle ID", "id"),
    "image_x_px": ("Image X", "image_x"),
    "image_y_px": ("Image Y", "image_y"),
    "capture_x_px": ("Capture X", "src_x"),
    "capture_y_px": ("Capture Y", "src_y"),
    "source_image": ("Source Image", "src_image"),
    "calibration_image": ("Calibration Image", "cal_image"),
    "calibration_factor_um": ("Calibration Factor", "cal_const"),
    "intensity_calibration_image_grey": ("", "intensity_calimage"),
    "fringe_size_px": ("", "fringe_size"),
    "camera": ("Camera", "camera"),
    "elapsed_time_s": ("Elapsed Time", "elapsed_time"),
    "filter_score": ("Filter Score", ""),
}

# Text: names, times and files of a particle.
TEXT = {
    "collage": ("Image File", "collage_file"),
    "image_path": ("imgpaths", ""),
    "label": ("Class", ""),
    "date": ("Date", ""),
    "time": ("Time", ""),
    "timestamp": ("Timestamp", "timestamp"),
    "image_id": ("UUID", "image_id"),
    "capture_id": ("Capture ID", ""),
    "group_id": ("Group ID", ""),
    "name": ("Name", ""),
}
_MORE_HEADINGS = {
    "picture": "image_path",
    "Collage File": "collage",
    "Class Name": "label",
    "Category": "label",
    "um_per_px": "calibration_factor_um",
}

NUMBERS = (*MEASURED, *FURTHER, *LEAKING)
TABLE = {**MEASURED, **FURTHER, **LEAKING, **TEXT}


def _letters(heading: str) -> str:
    """Returns the letters and digits: the same for "Area (ABD)" and "Area..ABD." as R writes it."""
    return re.sub(r"[^0-9a-z]", "", heading.lower())


_OF_FIELD = {field: name for name, (_, field) in TABLE.items() if field}
_OF_HEADING = {
    _letters(written): name
    for name, (heading, _) in TABLE.items()
    for written in (heading, name)
    if written
} | {_letters(heading): name for heading, name in _MORE_HEADINGS.items()}


def match_csv_headings(headings: Iterable[str], *, where: str) -> dict[str, str]:
    """Returns our name -> heading, for those headings of a table that have a meaning here.

    Args:
      headings: as written; brackets, case and spaces do not matter.
      where: the table and line, which begins the message.

    Raises:
      UserError: two of them mean the same.
    """
    return _by_name({h: _OF_HEADING.get(_letters(h)) for h in headings}, where=where)


def match_lst_fields(fields: Iterable[str], *, where: str) -> dict[str, str]:
    """Returns our name -> field, for those fields of a .lst that have a meaning here."""
    return _by_name({field: _OF_FIELD.get(field) for field in fields}, where=where)


def _by_name(name_of: dict[str, str | None], *, where: str) -> dict[str, str]:
    """Returns our name -> heading of heading -> our name, None for no meaning."""
    headings: dict[str, str] = {}
    for heading, name in name_of.items():
        if name is None:
            continue
        if name in headings:
            raise UserError(
                f"{where}: the headings {headings[name]!r} and {heading!r} both mean {name}. "
                "Rename or remove one of the columns."
            )
        headings[name] = heading
    return headings
