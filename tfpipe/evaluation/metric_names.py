"""Titles of metrics, and reasons why one may be missing."""

# metric -> (title, why it may be nan)
METRICS = {
    "average_precision": ("Average precision", "one class is missing"),
    "roc_auc": ("Area under the ROC curve", "one class is missing"),
    "precision": ("Precision", "nothing was found"),
    "recall": ("Recall", "there was nothing to find"),
    "f1": ("F1", "there was nothing to find"),
    "balanced_accuracy": ("Balanced accuracy", "one class is missing"),
    "accuracy": ("Accuracy", "no examples"),
    "accuracy_of_commoner_class": (
        "Accuracy of always predicting the commoner class",
        "no examples",
    ),
    "accuracy_of_commonest_class": (
        "Accuracy of always predicting the commonest class",
        "no examples",
    ),
    "macro_f1": ("F1, mean of the classes", "no examples"),
    "macro_average_precision": ("Average precision, mean of the classes", "no examples"),
    "macro_roc_auc": ("Area under the ROC curve, mean of the classes", "there is only one class"),
    "log_loss": ("Log loss (nats)", "no examples"),
    "classes_that_occur": ("Classes among them", "not counted"),
    "mean_squared_error": ("Mean squared error", "no examples"),
    "error_of_mean_image": ("Variance (error of the mean image)", "no examples"),
    "variance_explained": ("Variance explained", "all images are alike"),
    "mean_absolute_error": ("Mean absolute error of the predicted class", "no examples"),
    "mean_absolute_error_of_expected": ("Mean absolute error of the expected value", "no examples"),
    "mean_absolute_error_of_median": ("Mean absolute error of always the median", "no examples"),
    "mean_absolute_error_of_others": ("Mean absolute error without ambiguous ones", "no examples"),
    "accuracy_of_others": ("Accuracy without ambiguous ones", "no examples"),
    "examples": ("Examples", "not counted"),
    "positives": ("Positives among them", "not counted"),
    "layer_f1": ("Layer F1", "no layer in the table, none found"),
    "layer_precision": ("Layer precision", "no layer was found"),
    "layer_recall": ("Layer recall", "no layer in the table"),
    "layer_depth_error_mm": (
        "Median depth error after alignment (mm)",
        "no layer of the table was found",
    ),
    "layers_tabled": ("Layers in the table", "not counted"),
    "layers_found": ("Layers found, right or wrong", "not counted"),
    "lens_f1": ("Lens F1", "no lens in the table, none found"),
    "lens_precision": ("Lens precision", "no lens was found"),
    "lens_recall": ("Lens recall", "no lens in the table"),
    "lens_tabled": ("Lenses in the table", "not counted"),
    "lens_found": ("Lenses found, right or wrong", "not counted"),
}


def title_of(metric: str) -> str:
    """Returns a metric's title; the title of a task's own metric is made of its name."""
    if metric in METRICS:
        return METRICS[metric][0]
    return metric.replace("_", " ").capitalize()
