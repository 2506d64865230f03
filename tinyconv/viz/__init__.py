"""Pictures of models, of what they see, and of their training, and the numbers behind these pictures.

``plot_...`` return figures, and save them where a path is given. No display is needed, and no state of matplotlib's
pyplot is touched; matplotlib is imported when something is drawn.
"""

from tinyconv.viz.architecture import plot_model, to_dot
from tinyconv.viz.attribution import grad_cam, saliency
from tinyconv.viz.features import Field, Patches, feature_maps, receptive_field, top_patches
from tinyconv.viz.figures import save, show
from tinyconv.viz.grids import (
    plot_activations,
    plot_filters,
    plot_grad_cam,
    plot_images,
    plot_saliency,
    plot_top_patches,
)
from tinyconv.viz.training import plot_confusion_matrix, plot_history

__all__ = [
    "Field", "Patches", "feature_maps", "grad_cam", "plot_activations", "plot_confusion_matrix", "plot_filters",
    "plot_grad_cam", "plot_history", "plot_images", "plot_model", "plot_saliency", "plot_top_patches",
    "receptive_field", "saliency", "save", "show", "to_dot", "top_patches",
]  # fmt: skip
