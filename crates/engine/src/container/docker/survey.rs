//! What `info` says of an engine and its host.

use bollard::models::SystemInfo;
use camino::Utf8Path;
use jiff::Timestamp;
use wheelfarm_core::doctor::facts::{EngineSurvey, GpuWay, Limits, Whereabouts};

use super::{DockerEngine, Place, has_nvidia_spec};
use crate::container::GpuOffer;

/// Where CDI specifications lie, also for an engine that does not read them
/// (<https://github.com/cncf-tags/container-device-interface>).
const CDI_FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

impl DockerEngine {
    pub(super) fn survey_of(&self, info: SystemInfo) -> EngineSurvey {
        let gpu = match self.gpu_offer(&info) {
            GpuOffer::None => GpuWay::None,
            GpuOffer::NvidiaRuntime => GpuWay::NvidiaRuntime,
            GpuOffer::Cdi => GpuWay::Cdi,
        };
        let whereabouts = match self.place {
            Place::ThisHost => Whereabouts::ThisHost,
            Place::Elsewhere => Whereabouts::Elsewhere,
        };
        let ahead_s = info.system_time.as_deref().and_then(ahead_s);
        let proxies = [info.http_proxy, info.https_proxy];
        let proxies = proxies
            .into_iter()
            .flatten()
            .filter(|text| !text.is_empty());
        let mirrors = info.registry_config.and_then(|config| config.mirrors);
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        EngineSurvey {
            name: "docker".to_owned(),
            version: info.server_version.unwrap_or_default(),
            api: self.api(),
            os: info.os_type.unwrap_or_default(),
            architecture: info.architecture.unwrap_or_default(),
            cpus: number(info.ncpu).map_or(1, |cpus| u32::try_from(cpus).unwrap_or(u32::MAX)),
            memory_bytes: number(info.mem_total).unwrap_or(0),
            storage_driver: info.driver.unwrap_or_default(),
            d_type: info.driver_status.as_deref().and_then(d_type),
            cgroup_version: info
                .cgroup_version
                .map(|version| version.to_string())
                .filter(|version| !version.is_empty()),
            cgroup_driver: info
                .cgroup_driver
                .map(|driver| driver.to_string())
                .filter(|driver| !driver.is_empty()),
            limits: Limits {
                memory: info.memory_limit,
                swap: info.swap_limit,
                cpu: info.cpu_cfs_quota,
                processes: info.pids_limit,
            },
            live_restore: info.live_restore_enabled,
            security: info.security_options.unwrap_or_default(),
            forwarding: info.ipv4_forwarding,
            gpu,
            cdi_folders: cdi_folders(self.place),
            proxies: proxies.map(|text| without_password(&text)).collect(),
            mirrors: mirrors.unwrap_or_default(),
            ahead_s,
            whereabouts,
        }
    }
}

/// By how many seconds a clock is ahead of this machine's.
fn ahead_s(time: &str) -> Option<i64> {
    let theirs: Timestamp = time.parse().ok()?;
    Some(theirs.as_second() - Timestamp::now().as_second())
}

/// `Supports d_type` of the storage driver.
fn d_type(status: &[Vec<String>]) -> Option<bool> {
    let row = status
        .iter()
        .find(|row| row.first().is_some_and(|key| key == "Supports d_type"))?;
    row.get(1)?.parse().ok()
}

fn cdi_folders(place: Place) -> Vec<String> {
    let folders = match place {
        Place::Elsewhere => return Vec::new(),
        Place::ThisHost => CDI_FOLDERS.iter(),
    };
    let folders = folders.filter(|folder| has_nvidia_spec(Utf8Path::new(folder)));
    folders.map(|folder| (*folder).to_owned()).collect()
}

/// A proxy's address may hold a password; engines since 20.10 hide it themselves.
fn without_password(address: &str) -> String {
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        (_, None) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_told_without_its_password() {
        for (address, shown) in [
            ("http://me:pw@proxy:3128", "http://proxy:3128"),
            ("http://proxy:3128", "http://proxy:3128"),
            ("me:p@w@proxy:3128", "proxy:3128"),
        ] {
            assert_eq!(without_password(address), shown);
        }
    }

    #[test]
    fn the_storage_driver_says_whether_folders_have_types() {
        let row = |key: &str, value: &str| vec![key.to_owned(), value.to_owned()];
        let backing = row("Backing Filesystem", "xfs");
        let status = |value: &str| [backing.clone(), row("Supports d_type", value)];
        assert_eq!(d_type(&status("true")), Some(true));
        assert_eq!(d_type(&status("false")), Some(false));
        assert_eq!(d_type(std::slice::from_ref(&backing)), None);
    }
}
