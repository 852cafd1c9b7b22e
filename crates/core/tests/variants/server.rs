//! A release and a stand-in for PyPI, served on loopback by Python's `http.server`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::tools;

/// Which pages of an index are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// As any static host does.
    Html,
    /// The JSON to those who ask for it, as PyPI does.
    Json,
}

/// Serves `index.json` of a folder to whoever accepts JSON, if it is told to.
const PROGRAM: &str = r#"
import functools, http.server, os, sys

class Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map,
                      "index.json": "application/vnd.pypi.simple.v1+json"}
    def send_head(self):
        folder = self.translate_path(self.path)
        wants_json = "vnd.pypi.simple.v1+json" in self.headers.get("Accept", "")
        if sys.argv[2] == "json" and wants_json and os.path.exists(folder + "/index.json"):
            self.path += "index.json"
        return super().send_head()
    def guess_type(self, path):
        if path.endswith("/index.json"):
            return "application/vnd.pypi.simple.v1+json"
        return super().guess_type(path)
    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=sys.argv[1]))
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    port: u16,
}

impl Server {
    pub(crate) fn start(root: &Path, pages: Pages) -> Self {
        let mut process = Command::new(tools::python())
            .args(["-c", PROGRAM])
            .arg(root)
            .arg(match pages {
                Pages::Html => "html",
                Pages::Json => "json",
            })
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = process.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the server names its port");
        Self { process, port }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
