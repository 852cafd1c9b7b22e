#!/bin/sh
# Compiles one wheel, inside the container. Leaves it in $OUT.
#
# The number of compilers follows from the container's own limits: upstreams count the host's
# processors, and a 10 GB compiler times 64 processors takes the host down.
set -eu

first_number() {
    for file in "$@"; do
        if [ -r "$file" ]; then
            read -r number _ < "$file" || continue
            case $number in
                '' | *[!0-9]*) ;;
                *) echo "$number"; return ;;
            esac
        fi
    done
    echo 0
}

processors=$(nproc)
quota=$(first_number /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us)
period=100000
if [ "$quota" -gt 0 ] && [ $((quota / period)) -lt "$processors" ]; then
    processors=$(((quota + period - 1) / period))
fi
memory_mib=$(($(first_number /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes) / 1048576))
host_mib=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
if [ "$memory_mib" -le 0 ] || [ "$memory_mib" -gt "$host_mib" ]; then
    memory_mib=$host_mib
fi
fitting=$((memory_mib / ${PROCESS_MEMORY_MIB:-4096}))
if [ "$fitting" -lt 1 ]; then fitting=1; fi
if [ "$fitting" -gt "$processors" ]; then fitting=$processors; fi
export MAX_JOBS="${MAX_JOBS:-$fitting}"

{
    echo "nvcc $("$CUDA_HOME"/bin/nvcc --version | sed -n 's/.*release .*, V//p')"
    echo "gcc $(gcc -dumpfullversion)"
    echo "python $(python -c 'import platform; print(platform.python_version())')"
    sed -n 's/^\([A-Za-z0-9._-]*\)==/\1 /p' /usr/share/wheelfarm/requirements.txt
} > /build/tools.txt

# In a kept volume: the wheel of an earlier attempt is none of this build, and a library may have been cut off
# while it was linked. Objects are ninja's to judge.
rm -rf "${OUT:?}"/* build/lib* build/bdist*
rm -f /build/cache.json /build/usage.json
export PATH="/opt/wheelfarm/compilers:$PATH"

echo "wheelfarm: $processors processors, $memory_mib MiB, MAX_JOBS=$MAX_JOBS, NVCC_THREADS=${NVCC_THREADS:-1}"
if [ -n "${WHEELFARM_REHEARSAL:-}" ]; then
    exec sh -euc "$BUILD_COMMAND"
fi
exec /opt/wheelfarm/watched_build.py sh -euc "$BUILD_COMMAND"
