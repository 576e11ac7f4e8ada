//! The one etcd, shared by all API servers.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::ports;
use crate::process::{Component, Process};

const START: Duration = Duration::from_secs(60);

/// A running etcd.
#[derive(Debug)]
pub(crate) struct Etcd {
    pub(crate) url: String,
    _process: Process,
}

impl Etcd {
    /// Starts etcd with its data in a directory, and waits for it.
    pub(crate) fn start(data: &Path) -> Result<Self, String> {
        let (client, peer) = (ports::free(), ports::free());
        let url = format!("http://127.0.0.1:{client}");
        let peer = format!("http://127.0.0.1:{peer}");
        fs::create_dir_all(data).map_err(|error| error.to_string())?;
        let component = Component::new(
            "etcd",
            "etcd",
            [
                format!("--data-dir={}", data.display()),
                format!("--listen-client-urls={url}"),
                format!("--advertise-client-urls={url}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
                // The data need not survive the machine.
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
            ],
        );
        let mut process = component.start();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, client));
        process.wait_ready(START, || healthy(address))?;
        Ok(Self {
            url,
            _process: process,
        })
    }
}

fn healthy(address: SocketAddr) -> bool {
    let limit = Duration::from_secs(2);
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains("\"health\":\"true\""))
}
