//! GPUs, their driver, and what is planned for them.

use super::*;
use crate::package::GpuWish;

const A5090: &str = "NVIDIA GeForce RTX 5090, 12.0, 580.65.06, 32607 MiB\n";

fn machine(line: &str) -> impl FnOnce(&mut Facts) {
    let gpus = fixture::gpus(line);
    |facts| facts.gpu = gpus
}

/// alpha has `gpu: auto` in both CUDAs.
#[test]
fn drivers_against_each_cuda() {
    for (driver, cu128, cu130) in [
        (
            "525.60.13",
            (Pass, "its PTX takes 570.26"),
            (Fail, "install driver 580 or later"),
        ),
        (
            "520.61.05",
            (Fail, "525.60.13"),
            (Fail, "CUDA 13.0 out of the matrix"),
        ),
        (
            "570.26",
            (Pass, "525.60.13 or later is needed"),
            (Fail, "570.26"),
        ),
        (
            "580.65.06",
            (Pass, "driver"),
            (Pass, "580 or later is needed"),
        ),
        (
            "580.10",
            (Pass, "driver"),
            (Pass, "its PTX takes 580.65.06"),
        ),
    ] {
        let line = format!("NVIDIA H100, 9.0, {driver}, 81559 MiB");
        check_of(Topic::Driver, "CUDA 12.8", machine(&line), cu128);
        check_of(Topic::Driver, "CUDA 13.0", machine(&line), cu130);
    }
}

#[test]
fn a_driver_that_no_job_meets_is_no_fault_unless_wheels_are_proved_here() {
    let old = "NVIDIA H100, 9.0, 525.60.13, 81559 MiB";
    let builds_alone = |facts: &mut Facts| {
        machine(old)(facts);
        let wants = &mut facts.farm.as_mut().unwrap().wants;
        for wish in wants.cudas.values_mut() {
            *wish = GpuWish::None;
        }
    };
    check_of(
        Topic::Driver,
        "CUDA 13.0",
        builds_alone,
        (Warn, "builds do without"),
    );
    let proving = |facts: &mut Facts| {
        builds_alone(facts);
        facts.proofs = Proofs::OnThisMachine;
    };
    check_of(Topic::Driver, "CUDA 13.0", proving, (Fail, "580"));
}

/// alpha has `gpu: auto`, which goes without where containers get no GPU.
#[test]
fn an_old_driver_that_no_container_meets_is_no_fault() {
    let old = |facts: &mut Facts| {
        machine("NVIDIA H100, 9.0, 525.60.13, 81559 MiB")(facts);
        engine(|e| e.gpu = GpuWay::None)(facts);
    };
    let words = "containers get no GPU, so builds do without";
    check_of(Topic::Driver, "CUDA 13.0", old, (Warn, words));
    let proving = |facts: &mut Facts| {
        old(facts);
        facts.proofs = Proofs::OnThisMachine;
    };
    check_of(Topic::Driver, "CUDA 13.0", proving, (Fail, "580"));
    let required = |facts: &mut Facts| {
        old(facts);
        for wish in facts.farm.as_mut().unwrap().wants.cudas.values_mut() {
            *wish = GpuWish::Required;
        }
    };
    check_of(Topic::Driver, "CUDA 13.0", required, (Fail, "580"));
    // Whether containers get one is not known.
    let no_engine = |facts: &mut Facts| {
        old(facts);
        facts.engine = Err(Unseen::new("no answer", "start it"));
    };
    check_of(Topic::Driver, "CUDA 13.0", no_engine, (Fail, "580"));
}

/// What is in this machine says nothing of jobs that run on another one.
#[test]
fn an_engine_elsewhere_has_gpus_that_are_not_seen_from_here() {
    let with = |wish, gpus: &'static str| {
        move |facts: &mut Facts| {
            machine(gpus)(facts);
            engine(|e| e.whereabouts = Whereabouts::Elsewhere)(facts);
            for planned in facts.farm.as_mut().unwrap().wants.cudas.values_mut() {
                *planned = wish;
            }
        }
    };
    // A GPU here is as good as none, and an old driver as a new one.
    for gpus in ["", A5090, "NVIDIA H100, 9.0, 525.60.13, 81559 MiB\n"] {
        for topic in [Topic::Gpu, Topic::Driver, Topic::GpuCode] {
            let words = (NotChecked, "`wheelfarm doctor` on the engine's host");
            check(topic, with(GpuWish::Required, gpus), words);
            check(topic, with(GpuWish::Auto, gpus), words);
            let none = (Pass, "no job asks for one");
            check(topic, with(GpuWish::None, gpus), none);
        }
        let required = with(GpuWish::Required, gpus);
        check(Topic::EngineGpu, required, (Pass, "NVIDIA's runtime"));
    }
    // Proofs run here.
    let proving = |facts: &mut Facts| {
        with(GpuWish::Required, "")(facts);
        facts.gpu.devices = 0;
        facts.proofs = Proofs::OnThisMachine;
    };
    check(Topic::Gpu, proving, (Fail, "no GPU of NVIDIA's"));
    let no_way = |facts: &mut Facts| {
        with(GpuWish::None, A5090)(facts);
        engine(|e| e.gpu = GpuWay::None)(facts);
    };
    check(Topic::EngineGpu, no_way, (Pass, "no job asks for one"));
}

#[test]
fn a_machine_without_a_gpu() {
    let without = |facts: &mut Facts| {
        facts.gpu = fixture::gpus("");
        facts.gpu.devices = 0;
    };
    check(
        Topic::Gpu,
        without,
        (Warn, "jobs with `gpu: auto` go without"),
    );
    let proving = |facts: &mut Facts| {
        without(facts);
        facts.proofs = Proofs::OnThisMachine;
    };
    check(Topic::Gpu, proving, (Fail, "no GPU of NVIDIA's"));
    let no_wish = |facts: &mut Facts| {
        without(facts);
        let wants = &mut facts.farm.as_mut().unwrap().wants;
        for wish in wants.cudas.values_mut() {
            *wish = GpuWish::None;
        }
    };
    check(Topic::Gpu, no_wish, (Pass, "no job asks for one"));
    check(Topic::Driver, no_wish, (Pass, "no job asks for one"));
    let no_farm = |facts: &mut Facts| {
        without(facts);
        facts.farm = Err(Unseen::new("there is no `matrix.yaml` here", "name one"));
    };
    check(Topic::Gpu, no_farm, (Pass, "no job asks for one"));
    let no_driver = |facts: &mut Facts| {
        without(facts);
        facts.gpu.devices = 2;
    };
    check(
        Topic::Gpu,
        no_driver,
        (Warn, "2 GPUs of NVIDIA's on the bus, and no driver"),
    );
    let no_tools = |facts: &mut Facts| {
        without(facts);
        facts.gpu.loaded = Some("570.86.15".parse().unwrap());
    };
    check(Topic::Gpu, no_tools, (Warn, "driver 570.86.15 is loaded"));
    check_of(
        Topic::Driver,
        "CUDA 13.0",
        no_tools,
        (Fail, "driver 570.86.15"),
    );
    check(
        Topic::Driver,
        without,
        (NotChecked, "no driver of NVIDIA's"),
    );
}

/// alpha is built for 9.0 and 12.0+PTX, beta for 12.0a.
#[test]
fn what_is_planned_against_the_gpus_that_are_here() {
    check(
        Topic::GpuCode,
        machine(A5090),
        (Pass, "as machine code (4 releases)"),
    );
    let hopper = "NVIDIA H200, 9.0, 580.65.06, 143771 MiB";
    check(
        Topic::GpuCode,
        machine(hopper),
        (Warn, "no proof of it here: beta 2.0"),
    );
    let proving = |facts: &mut Facts| {
        machine(hopper)(facts);
        facts.proofs = Proofs::OnThisMachine;
    };
    check(Topic::GpuCode, proving, (Fail, "does not run: beta 2.0"));
    // Eight of a kind are one line, two kinds are two.
    assert_eq!(of(Topic::GpuCode, machine(&A5090.repeat(8))).len(), 1);
    assert_eq!(
        of(Topic::GpuCode, machine(&format!("{A5090}{hopper}"))).len(),
        2
    );
    // 12.1 runs what 12.0 is compiled to; an A100 has nothing of 9.0 or later.
    let ampere = "NVIDIA A100, 8.0, 580.65.06, 81920 MiB";
    check(
        Topic::GpuCode,
        machine(ampere),
        (Warn, "alpha 1.0 of CUDA 12.8, alpha 1.0 of CUDA 13.0"),
    );
}

#[test]
fn the_way_of_a_gpu_into_containers() {
    check(
        Topic::EngineGpu,
        engine(|e| e.gpu = GpuWay::Cdi),
        (Pass, "by CDI"),
    );
    check(
        Topic::EngineGpu,
        engine(|e| e.gpu = GpuWay::None),
        (Warn, "nvidia-ctk"),
    );
    let old_cdi = engine(|e| {
        e.gpu = GpuWay::None;
        e.api = (1, 41);
        e.cdi_folders = vec!["/etc/cdi".to_owned()];
    });
    check(Topic::EngineGpu, old_cdi, (Warn, "Docker 25"));
    let blind = |facts: &mut Facts| facts.gpu.in_container = Some(Err("no devices".to_owned()));
    check(
        Topic::EngineGpu,
        blind,
        (Fail, "does not see it: no devices"),
    );
    let sees = |facts: &mut Facts| facts.gpu.in_container = Some(Ok("1".to_owned()));
    check(Topic::EngineGpu, sees, (Pass, "a container sees 1"));
    let required = |facts: &mut Facts| {
        facts.proofs = Proofs::OnThisMachine;
        engine(|e| e.gpu = GpuWay::None)(facts);
    };
    check(
        Topic::EngineGpu,
        required,
        (Fail, "neither NVIDIA's runtime nor CDI"),
    );
}
