"""Review pages: HTML of the grid of images and of the photo with its spans."""

from tfpipe.base import html
from tfpipe.review.decision_desk import ImageReview, PhotoReview

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address contains the secret
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'"
)
STYLE = "review/assets/review.css"
SHARED_SCRIPT = "review/assets/review.js"
GRID_SCRIPTS = ("review/assets/image_grid.js",)
PHOTO_SCRIPTS = ("review/assets/photo_drawing.js", "review/assets/photo_spans.js")


def text(queue: ImageReview | PhotoReview, *, title: str, who: str) -> str:
    """Returns the review page. Only its own scripts run, and it asks this server only.

    Args:
      queue: what is reviewed.
      title: title of the page.
      who: the reviewer's name until the reviewer types another.
    """
    is_grid = queue.kind == "images"
    template = "blind_grid" if queue.is_blind else "image_grid" if is_grid else "photo_spans"
    scripts = (SHARED_SCRIPT, *(GRID_SCRIPTS if is_grid else PHOTO_SCRIPTS))
    return html.page(
        f"review/templates/{template}.html",
        title=title,
        styles=[STYLE],
        scripts=[html.asset(path) for path in scripts],
        data={
            "reviewer": who,
            "labels": list(queue.labels),
            "file": queue.desk.path.name,
            "blind": queue.is_blind,
        },
        policy=POLICY,
        queue=queue,
    )
