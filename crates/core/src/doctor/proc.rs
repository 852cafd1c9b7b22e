//! What the kernel says of a machine: the texts of `/proc`, read elsewhere.

use crate::gpu::driver::Driver;

/// The amount behind a key of `/proc/meminfo`, in bytes.
pub fn meminfo(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(key)?.strip_prefix(':')?;
        let kib = rest.trim().strip_suffix(" kB")?;
        kib.parse::<u64>().ok()?.checked_mul(1024)
    })
}

/// The soft limit on open files in `/proc/self/limits`; `u64::MAX` when there is none.
pub fn open_files(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Whether a process is root's, by its `/proc/PID/status`: the second number is the effective user.
pub fn is_root(text: &str) -> Option<bool> {
    let users = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let effective: u32 = users.split_whitespace().nth(1)?.parse().ok()?;
    Some(effective == 0)
}

/// The driver of `/proc/driver/nvidia/version`, of either kernel module:
/// `NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 …`.
pub fn loaded_driver(text: &str) -> Option<Driver> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("NVRM version:"))?;
    let mut words = line.split_whitespace().filter(|word| word.contains('.'));
    words.find_map(|word| word.parse().ok())
}

/// Whether a device of the bus is an NVIDIA GPU, by its `vendor` and `class` below `/sys/bus/pci/devices`:
/// a VGA or 3D controller (<https://pcisig.com>, class codes 0300 and 0302).
pub fn is_nvidia_gpu(vendor: &str, class: &str) -> bool {
    let class = class.trim();
    vendor.trim() == "0x10de" && (class.starts_with("0x0300") || class.starts_with("0x0302"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_bytes() {
        let text = "MemTotal:       24679704 kB\nMemAvailable:   1024 kB\nHugePages_Total:   0\n";
        assert_eq!(meminfo(text, "MemTotal"), Some(24_679_704 * 1024));
        assert_eq!(meminfo(text, "MemAvailable"), Some(1 << 20));
        assert_eq!(meminfo(text, "Mem"), None);
        assert_eq!(meminfo(text, "HugePages_Total"), None);
        assert_eq!(meminfo("", "MemTotal"), None);
    }

    #[test]
    fn the_soft_limit_counts() {
        let line = |value| {
            format!("Limit  Soft Limit  Hard Limit  Units\nMax open files  {value}  1048576  files")
        };
        assert_eq!(open_files(&line("1024")), Some(1024));
        assert_eq!(open_files(&line("unlimited")), Some(u64::MAX));
        assert_eq!(open_files("Max processes  1 1"), None);
    }

    #[test]
    fn the_effective_user_counts() {
        assert_eq!(is_root("Name:\tx\nUid:\t1000\t0\t1000\t1000\n"), Some(true));
        assert_eq!(is_root("Uid:\t0\t1000\t0\t0\n"), Some(false));
        assert_eq!(is_root("Gid:\t0\t0\t0\t0\n"), None);
    }

    #[test]
    fn both_kernel_modules_tell_their_driver() {
        let driver = |text: &str| loaded_driver(text).map(|driver| driver.to_string());
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n\
                      GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n";
        assert_eq!(driver(closed).as_deref(), Some("535.183.01"));
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (u@h)";
        assert_eq!(driver(open).as_deref(), Some("580.65.06"));
        assert_eq!(driver("GCC version: gcc 12.2.0"), None);
    }

    #[test]
    fn only_display_controllers_are_gpus() {
        assert!(is_nvidia_gpu("0x10de\n", "0x030200\n"));
        assert!(is_nvidia_gpu("0x10de", "0x030000"));
        assert!(!is_nvidia_gpu("0x10de", "0x040300"), "its sound device");
        assert!(!is_nvidia_gpu("0x8086", "0x030000"));
    }
}
