"""Errors that a page explains: a part of each sentence, and its heading in docs/messages.md."""

from pathlib import Path

PAGE = "docs/messages.md"
CHECKOUT = Path(__file__).parents[2]  # holds the page; where the package is installed, it does not
# Heading on the page, as its link has it -> words that only this sentence has.
SENTENCES = {
    "files-that-cannot-be-read": "files cannot be read:",
    "every-split-needs-every-class": "Every split needs every class",
    "one-class-is-not-enough": "A classifier needs two classes or more",
    "the-same-thing-in-two-splits": "The same thing stands in two splits",
    "one-image-in-two-classes": "The same image is in two classes",
    "images-that-a-table-names-and-that-are-not-there": "Put the images there, or remove the rows",
    "no-class-folders": "holds no class folders",
    "no-core-in-a-photo": "no core was found",
    "no-table-of-photos": "holds no table of photos",
    "nothing-is-packed": "holds no packed records",
    "there-is-no-version": "holds no version yet",
    "trials-that-fail": "The search was given up after",
    "training-that-diverges": "Training diverged in epoch",
    "the-exported-model-differs": "The exported model differs from the trained one",
    "the-new-version-is-worse": "The new version is worse than version",
    "nothing-new-to-train-on": "was trained on these very records",
    "another-split": "were packed by another split than version",
    "no-space-left": "Free some space",
}


def link(sentence: str) -> str:
    """Returns where a sentence is explained, such as "/src/docs/messages.md#no-space-left".

    Returns "" where no heading explains it, or the page is not there, as with an installed package.
    """
    page = CHECKOUT / PAGE
    if not page.is_file():
        return ""
    anchors = (anchor for anchor, words in SENTENCES.items() if words in sentence)
    anchor = next(anchors, None)
    return f"{page}#{anchor}" if anchor else ""
