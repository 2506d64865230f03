"""Case study: read captchas of four digits with LeNet, from raw images to whole captchas.

====================  ===============================================================================================
``generate_images``   draws captchas of the documents' kind (they downloaded them from a toll operator's login page;
                      that page is never asked here)
``annotate``          cuts captchas into digits, and files each under the digit that a key or a file of labels names
``train_model``       trains LeNet on a folder of such digits, or on the 2,019 published ones
``test_model``        reads whole captchas with the trained network, and draws what it read
``break_real``        all of it on the 505 real captchas, tested on 127 that nothing was trained on
====================  ===============================================================================================

Each is run as ``python -m examples.captcha_breaker.NAME``. To be used on captchas of one's own, or with permission.
"""

from examples.common import need_opencv

need_opencv()  # its programs import it before they run
