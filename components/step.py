"""What all steps share: the one image that holds `components` and what it imports."""

from functools import partial

from kfp import dsl

from components import IMAGE

step = partial(dsl.component, base_image=IMAGE, install_kfp_package=False)
