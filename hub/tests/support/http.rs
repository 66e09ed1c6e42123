//! A small smart-HTTP server on loopback that runs `git http-backend`, with switches for what a hostile one does.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What the server does with a request.
#[derive(Clone, Default)]
pub enum Manner {
    /// Serves the folder.
    #[default]
    Honest,
    /// Answers every request so, raw.
    Raw(Vec<u8>),
    /// Serves the folder but speaks protocol version 0 alone.
    Old,
}

struct Inner {
    folder: PathBuf,
    manner: Mutex<Manner>,
    seen: Mutex<Vec<String>>,
    stop: AtomicBool,
}

pub struct Server {
    address: SocketAddr,
    inner: Arc<Inner>,
}

impl Server {
    pub fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            folder: folder.to_owned(),
            manner: Mutex::default(),
            seen: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let shared = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stop.load(Ordering::Acquire) {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let _ = serve(&shared, stream);
                });
            }
        });
        Self { address, inner }
    }

    pub fn url(&self) -> String {
        format!("http://{}/fleet.git", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn behave(&self, manner: Manner) {
        *self.inner.manner.lock().unwrap() = manner;
    }

    /// Heads of all requests, as they came.
    pub fn seen(&self) -> Vec<String> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// Requests that asked for a pack.
    pub fn fetches(&self) -> usize {
        self.seen()
            .iter()
            .filter(|head| head.contains("x-pack-requested"))
            .count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(inner: &Inner, stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let header = |name: &str| {
        head.lines().find_map(|line| {
            line.split_once(':')
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().to_owned())
        })
    };
    let mut body = vec![
        0;
        header("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0)
    ];
    reader.read_exact(&mut body)?;
    let wants = body.windows(5).any(|bytes| bytes == b"want ");
    inner.seen.lock().unwrap().push(if wants {
        format!("{head}x-pack-requested\n")
    } else {
        head.clone()
    });
    let manner = inner.manner.lock().unwrap().clone();
    let mut stream = stream;
    let version = match manner {
        Manner::Raw(answer) => return stream.write_all(&answer),
        Manner::Old => String::new(),
        Manner::Honest => header("git-protocol").unwrap_or_default(),
    };
    let mut line = head.split(' ');
    let (method, target) = (
        line.next().unwrap_or_default(),
        line.next().unwrap_or_default(),
    );
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &inner.folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("GIT_PROTOCOL", version)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&body)?;
    }
    let output = child.wait_with_output()?.stdout;
    let split = output
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .unwrap_or(0);
    let headers = String::from_utf8_lossy(&output[..split]).into_owned();
    let content = output.get(split + 4..).unwrap_or_default();
    let status = headers
        .lines()
        .find_map(|line| line.strip_prefix("Status: "))
        .unwrap_or("200 OK")
        .to_owned();
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    )?;
    stream.write_all(content)
}
