// The GPU code of the wheel that the tests of `inspect` and `verify` read.
extern "C" __global__ void scale(float *values, float factor, int count)
{
    int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < count)
        values[index] *= factor;
}

extern "C" void scale_on_gpu(float *values, float factor, int count)
{
    scale<<<(count + 255) / 256, 256>>>(values, factor, count);
}
