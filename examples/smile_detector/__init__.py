"""Case study: tell smiling faces from others, in photos, videos and before a camera.

====================  ===============================================================================================
``train_model``       trains LeNet on the 13,165 faces of SMILES, on a clean split and with class weights
``detect_smile``      finds faces by OpenCV's Haar cascade and labels them: camera, video file or folder of images
``check_detector``    the whole way of a frame, on SMILES faces that were held out
====================  ===============================================================================================

Each is run as ``python -m examples.smile_detector.NAME``.
"""

from examples.common import need_opencv

need_opencv()  # its programs import it before they run
