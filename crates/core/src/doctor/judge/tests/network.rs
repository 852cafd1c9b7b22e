//! Servers, proxies, clocks.

use super::*;

fn servers(reach: Reach) -> impl FnOnce(&mut Facts) {
    move |facts| facts.network.asked = fixture::asked(&reach)
}

fn status(status: u16) -> Reach {
    Reach::Answered(fixture::answer(status))
}

fn page(from_host: Option<&str>) -> Reach {
    Reach::Answered(Answer {
        is_page: true,
        from_host: from_host.map(str::to_owned),
        ..fixture::answer(200)
    })
}

#[test]
fn what_servers_answer() {
    let registry = "registry-1.docker.io";
    let index = "pypi.org";
    let mirror = "deb.debian.org";
    let files = "files.lab";
    let host = "files.pythonhosted.org";
    for (server, reach, want) in [
        (registry, status(401), (Pass, "401 in 120 ms")),
        (index, status(401), (Fail, "it wants a login")),
        (index, status(404), (Fail, "it has no such project")),
        (index, status(407), (Fail, "a proxy wants a login")),
        (index, status(503), (Warn, "may pass")),
        (mirror, status(404), (Fail, "it has no such suite")),
        (registry, status(404), (Fail, "it is no registry")),
        (registry, page(None), (Fail, "a page for people")),
        (index, page(None), (Pass, "200 in 120 ms")),
        (index, page(Some("login.lab")), (Fail, "a page for people")),
        (files, status(403), (Fail, "it wants a login")),
        (files, status(404), (Fail, "it has no such file")),
        (host, status(404), (Pass, "404 in 120 ms")),
        (host, status(502), (Warn, "may pass")),
        (
            index,
            Reach::Silent { seconds: 5 },
            (
                Fail,
                "no answer within 5 s; needed by every image, torch, alpha",
            ),
        ),
        (
            index,
            Reach::Failed("connection refused".to_owned()),
            (Fail, "curl -I https://pypi.org/"),
        ),
        (
            index,
            Reach::Failed("invalid peer certificate: UnknownIssuer".to_owned()),
            (Fail, "SSL_CERT_FILE"),
        ),
        (
            index,
            Reach::NotAsked("not asked"),
            (NotChecked, "--offline"),
        ),
    ] {
        check_of(Topic::Reach, server, servers(reach), want);
    }
    check_of(
        Topic::Reach,
        "https://github.com/lab/beta",
        servers(Reach::Failed("could not resolve host".to_owned())),
        (Fail, "git ls-remote https://github.com/lab/beta HEAD"),
    );
    check_of(
        Topic::Reach,
        "https://github.com/lab/beta",
        servers(Reach::Listed { ms: 2500 }),
        (Pass, "read by git in 2.5 s"),
    );
}

#[test]
fn what_is_here_need_not_be_reached() {
    let held = |facts: &mut Facts| {
        servers(Reach::Silent { seconds: 5 })(facts);
        for asked in &mut facts.network.asked {
            asked.target.held = Some("it is here".to_owned());
        }
    };
    let checks = of(Topic::Reach, held);
    assert!(checks.len() >= 6, "{checks:?}");
    assert!(checks.iter().all(|check| check.state == Pass), "{checks:?}");
}

#[test]
fn an_engine_with_a_way_of_its_own_may_reach_a_registry() {
    let down = || servers(Reach::Failed("connection refused".to_owned()));
    let name = "registry-1.docker.io";
    check_of(
        Topic::Reach,
        name,
        down(),
        (Fail, "docker pull nvidia/cuda:12.8.1-devel-ubuntu22.04"),
    );
    let proxied = |facts: &mut Facts| {
        down()(facts);
        engine(|e| e.proxies = vec!["http://proxy:3128".to_owned()])(facts);
    };
    check_of(
        Topic::Reach,
        name,
        proxied,
        (NotChecked, "by its proxy http://proxy:3128"),
    );
    let elsewhere = |facts: &mut Facts| {
        down()(facts);
        engine(|e| e.whereabouts = Whereabouts::Elsewhere)(facts);
    };
    check_of(
        Topic::Reach,
        name,
        elsewhere,
        (NotChecked, "from another host"),
    );
    let proxy = |facts: &mut Facts| facts.network.proxies = vec!["HTTPS_PROXY".to_owned()];
    check(Topic::Proxy, proxy, (Warn, "HTTPS_PROXY set"));
}

#[test]
fn the_clock() {
    let ahead = |ahead_s| {
        Reach::Answered(Answer {
            ahead_s,
            ..fixture::answer(200)
        })
    };
    check(
        Topic::Clock,
        servers(ahead(Some(31))),
        (Warn, "31 s ahead of this machine's"),
    );
    check(
        Topic::Clock,
        servers(ahead(Some(-3600))),
        (Warn, "3600 s behind this machine's"),
    );
    check(Topic::Clock, servers(ahead(Some(30))), (Pass, "30 s apart"));
    check(
        Topic::Clock,
        servers(ahead(None)),
        (NotChecked, "timedatectl"),
    );
    // One server that is wrong is not this machine's fault.
    let one_off = |facts: &mut Facts| {
        let Reach::Answered(answer) = &mut facts.network.asked[0].reach else {
            panic!()
        };
        answer.ahead_s = Some(86_400);
    };
    check(Topic::Clock, one_off, (Pass, "0 s apart"));
}
