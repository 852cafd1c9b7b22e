from setuptools import setup

setup(name="other", version="1.0", py_modules=["demo"])
