//! Looking into an image: what its Python is, or that it has none.

use wheelfarm_core::release::resolve::Libc;
use wheelfarm_engine::resolve::{EnvironmentError, environment};
use wheelfarm_engine::run::StopSignal;

use crate::lab::{root_file_system, with_lab};

#[tokio::test]
async fn docker_an_image_without_a_python_is_told_and_leaves_nothing() {
    with_lab("resolve-none", async |lab| {
        let image = lab.image_name.as_str();
        let res = environment::image(&lab.engine, image, &StopSignal::default()).await;
        assert!(
            matches!(&res, Err(EnvironmentError::NoPython { is_musl: false, .. })),
            "{res:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn docker_the_python_of_an_image_is_asked_without_a_network() {
    with_lab("resolve-python", async |lab| {
        // What stands for a Python answers as one, and says whether it had a network.
        let python = "#!/bin/sh\n\
                      test \"$1$2\" = -B-c || exit 9\n\
                      test ! -e /sys/class/net/eth0 || exit 8\n\
                      echo 'wheelfarm-facts: {\"schema\": 1, \"implementation\": \"CPython\", \"python\": [3, 12, 3], \
                      \"free_threaded\": false, \"torch\": null, \"torch_cuda\": null, \"glibc\": \"2.39\", \
                      \"musl\": false, \"machine\": \"x86_64\"}'\n";
        let image = lab.import("python", root_file_system(&[("python3", python)]));
        let image = image.await;
        let stop = StopSignal::default();
        let res = environment::image(&lab.engine, image.as_str(), &stop).await;
        let facts = res.unwrap();
        assert_eq!(facts.python.unwrap().to_string(), "3.12.3");
        assert_eq!(facts.libc, Some(Libc::Glibc(2, 39)));
        assert_eq!(facts.notes, ["it has no torch"]);
    })
    .await;
}
