#include <cstdio>

static __global__ void scale(float *x, float by) { x[threadIdx.x] *= by; }

// Where it lies is in the object.
const char *scale_file() { return __FILE__; }

void run_scale(float *x, float by) { scale<<<1, 32>>>(x, by); }
