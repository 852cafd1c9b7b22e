#include <Python.h>

PyObject *name();

static PyModuleDef module = {PyModuleDef_HEAD_INIT, "demo._C", nullptr, -1, nullptr};

PyMODINIT_FUNC PyInit__C() {
  PyObject *res = PyModule_Create(&module);
  if (res && PyModule_AddObject(res, "name", name()) < 0) return nullptr;
  return res;
}
