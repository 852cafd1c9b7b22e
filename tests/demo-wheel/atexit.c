/* In place of libc's, so that the module needs nothing but the runtime. */
__attribute__((visibility("hidden"))) int atexit(void (*end)(void)) { return end == 0; }
