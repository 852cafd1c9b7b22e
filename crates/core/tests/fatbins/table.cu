__device__ int table[4];
