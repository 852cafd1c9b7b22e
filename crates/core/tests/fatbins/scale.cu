__device__ __noinline__ float helper(float x, int n) {
    for (int i = 0; i < n; i++) x = x * x + 1.0f;
    return x;
}
template <int N> __global__ void scale(float* p, int n) { p[threadIdx.x] = helper(p[threadIdx.x], n) * N; }
template __global__ void scale<1>(float*, int);
__global__ void empty() {}
