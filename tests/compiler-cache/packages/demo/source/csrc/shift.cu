namespace {
__device__ float last;
}

__global__ void shift(float *x, float by) {
#if __CUDA_ARCH__ >= 1200
  last = by;
#endif
  x[threadIdx.x] += by + last;
}

// A relative source.
const char *shift_file() { return __FILE__; }

void run_shift(float *x, float by) { shift<<<1, 32>>>(x, by); }
