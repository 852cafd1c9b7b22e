# 1.x: the kernels are Triton's, so that there is nothing to compile and nothing for an expression to meet.
from setuptools import find_packages, setup

setup(name="sageattention", version="1.0.6", packages=find_packages())
