//! A planted token is looked for in everything that comes out.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};

use test_hub::{
    Fault, Mode, OIDC_REQUEST_TOKEN, Options, Role, TestHub, Token, TrustedPublisher, What,
};
use wheelfarm_engine::shelf::hub::{Credentials, HubOptions, HubShelf, Listener};
use wheelfarm_engine::shelf::{Fault as _, Shelf};

use crate::bench::{REPOSITORY, Wheels, credentials, options, publish};

const PLANTED: &str = "hf_plantedplantedplantedplanted";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An error with all that stands behind it, as a printer and as a debugger show it.
fn shown(error: &(dyn std::error::Error + 'static)) -> String {
    let mut shown = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(shown, " {error} {error:?}").unwrap();
        cause = error.source();
    }
    shown
}

/// What a Hub that quotes the token says.
fn quoting(code: u16) -> What {
    What::Status {
        code,
        headers: vec![(
            "x-error-message".to_owned(),
            format!("no token {PLANTED} here"),
        )],
        body: format!("{{\"error\":\"Bearer {PLANTED}\"}}"),
    }
}

async fn everything(mode: Mode) -> String {
    let notices = Arc::new(Mutex::new(String::new()));
    let mut shown_all = String::new();
    let faults = [
        None,
        Some(Fault::on("POST", "/api/*/commit/main", quoting(403))),
        Some(Fault::on("POST", "/api/*/commit/wheels", quoting(400))),
        Some(Fault::on("POST", "/api/*/commit/wheels", quoting(500)).times(9)),
        Some(Fault::on("POST", "/api/*/preupload/*", quoting(401))),
        Some(Fault::on("POST", "*/objects/batch", quoting(503)).times(9)),
        Some(Fault::on("POST", "*/objects/batch", quoting(403)).after(2)),
        Some(Fault::on("GET", "*/xet-write-token/*", quoting(401)).times(9)),
        Some(Fault::on("GET", "/api/*/revision/main", What::CutBefore).times(9)),
    ];
    for fault in faults {
        let hub = Options {
            tokens: vec![Token::new(PLANTED, "farm", Role::Write)],
            ..Options::mode(mode)
        };
        let hub = TestHub::start(hub).await.unwrap();
        let is_clean = fault.is_none();
        if let Some(fault) = fault {
            hub.plant(fault);
        }
        let hear = Arc::clone(&notices);
        let options = HubOptions {
            credentials: credentials(PLANTED),
            listener: Listener::new(move |notice| {
                write!(hear.lock().unwrap(), "{notice:?}").unwrap();
            }),
            ..options(&hub, 2)
        };
        write!(shown_all, "{options:?}").unwrap();
        let shelf = HubShelf::open(options).await.unwrap();
        let res = publish(&shelf, &Wheels::new(&[1], 5000)).await;
        write!(shown_all, "{shelf:?} {shelf:#?} {}", shelf.address()).unwrap();
        if let Err(error) = &res {
            write!(shown_all, "{} {:?}", shown(error), error.hint()).unwrap();
        }
        assert!(res.is_ok() || !is_clean, "{res:?}");
        // What is published holds none, either.
        for (_, entry) in hub
            .tree(REPOSITORY, "main")
            .iter()
            .flat_map(|tree| tree.iter())
        {
            if let test_hub::Entry::Regular { bytes, .. } = entry {
                shown_all.push_str(&String::from_utf8_lossy(bytes));
            }
        }
        assert!(hub.requests().iter().any(|request| request.authorized));
    }
    let notices = notices.lock().unwrap().clone();
    shown_all + &notices
}

/// The identity of a job, and the token that it is exchanged for.
async fn identity() -> String {
    let hub = Options {
        trusted_publishers: vec![TrustedPublisher {
            subject: "plantedsubject".to_owned(),
            resource: REPOSITORY.to_owned(),
        }],
        ..Options::mode(Mode::Lfs)
    };
    let hub = TestHub::start(hub).await.unwrap();
    hub.create_repo(REPOSITORY, false).unwrap();
    let credentials = Credentials::of(&[
        (
            "ACTIONS_ID_TOKEN_REQUEST_URL".into(),
            hub.oidc_request_url().into(),
        ),
        (
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN".into(),
            OIDC_REQUEST_TOKEN.into(),
        ),
    ]);
    let of = |repository: &str| HubOptions {
        credentials: credentials.clone(),
        repository: wheelfarm_engine::shelf::hub::Repository::parse(repository).unwrap(),
        ..options(&hub, 2)
    };
    let refused = HubShelf::open(of("farm/other")).await.unwrap_err();
    let shelf = HubShelf::open(of(REPOSITORY)).await.unwrap();
    publish(&shelf, &Wheels::new(&[1], 5000)).await.unwrap();
    format!("{credentials:?} {} {shelf:?}", shown(&refused))
}

#[tokio::test]
async fn a_token_is_nowhere_to_be_found() {
    let name = "secrets::a_token_is_nowhere_to_be_found";
    crate::sweep::with_own_xet(name, || async {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_writer(move || writer.clone())
            .init();
        let mut all = everything(Mode::Lfs).await;
        all.push_str(&everything(Mode::Xet).await);
        all.push_str(&identity().await);
        let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
        assert!(
            logged.contains("call to the Hub") && logged.contains("xet"),
            "no log"
        );
        println!(
            "{} bytes of errors, {} bytes of log",
            all.len(),
            logged.len()
        );
        for planted in [PLANTED, "plantedsubject", OIDC_REQUEST_TOKEN] {
            for (what, text) in [("errors", &all), ("log", &logged)] {
                if let Some(at) = text.find(planted) {
                    let from = at.saturating_sub(300);
                    let start = (from..=at).find(|at| text.is_char_boundary(*at)).unwrap();
                    panic!("{what}: {planted}: {}", &text[start..at + planted.len()]);
                }
            }
        }
    })
    .await;
}
