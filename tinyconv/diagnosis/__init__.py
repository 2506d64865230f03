"""What curves of training and the layers of a model tell to an experienced eye: ``diagnose`` and ``check_model``.

Both return findings: what was seen, in numbers, and what to do about it. Findings of level "warning" mean that
something is likely wrong; a "note" is a rule of thumb that good networks break, too. ``compile`` raises the warnings of
a model as ``ModelWarning``, each once.

Sources: A. Rosebrock, "Deep learning for computer vision with Python", 2017; A. Géron, "Hands-on machine learning with
Scikit-Learn, Keras, and TensorFlow", 2019; Stanford's notes of CS231n on learning rates and loss curves.
"""

from tinyconv.diagnosis.curves import Diagnosis, diagnose
from tinyconv.diagnosis.findings import Finding, ModelWarning
from tinyconv.diagnosis.models import check_model, warn_about

__all__ = ["Diagnosis", "Finding", "ModelWarning", "check_model", "diagnose", "warn_about"]
